// One person at the page: a browser context of its own, so with its own storage.
//
// Guarantees: waits for conditions and never for time; everything the browser complains about is kept in `complaints`.

import assert from 'node:assert/strict';

/** What a browser says of a server that is down. */
const NETWORK = /net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED)/;
const WAIT_MS_MAX = 20_000;

export class Tab {
  /** @type {string[]} */
  #messages = [];

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {import('./server.js').Server} server
   * @param {string} name of the document
   * @param {import('playwright-core').BrowserContextOptions} [options]
   */
  static async open(browser, server, name, options) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(WAIT_MS_MAX);
    const tab = new Tab();
    tab.server = server;
    tab.page = await context.newPage();
    await tab.page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective}`));
    });
    tab.page.on('console', (message) => {
      if (message.type() === 'error') {
        tab.#messages.push(message.text());
      }
    });
    tab.page.on('pageerror', (error) => tab.#messages.push(String(error)));
    tab.response = await tab.page.goto(`${server.url}#${encodeURIComponent(name)}`);
    return tab;
  }

  get complaints() {
    return this.#messages.filter((message) => !(this.server.wasDown && NETWORK.test(message)));
  }

  get editor() {
    return this.page.getByTestId('editor');
  }

  /** @param {string} name */
  async introduce(name) {
    await this.page.getByTestId('person-name').fill(name);
  }

  /**
   * Writes at the end of the text.
   *
   * @param {string} text
   */
  async write(text) {
    await this.editor.focus();
    await this.page.keyboard.press('Control+End');
    await this.page.keyboard.type(text);
  }

  async clear() {
    await this.editor.focus();
    await this.page.keyboard.press('Control+a');
    await this.page.keyboard.press('Delete');
  }

  /** The text, without what only decorates it. */
  text() {
    return this.editor.evaluate((editor) => {
      const copy = /** @type {HTMLElement} */ (editor.cloneNode(true));
      copy.querySelectorAll('.cursor, .cm-placeholder').forEach((decoration) => decoration.remove());
      return [...copy.querySelectorAll('.cm-line')].map((line) => line.textContent).join('\n');
    });
  }

  /**
   * Waits until the text is this one.
   *
   * @param {string} expected
   */
  async shows(expected) {
    await this.textWhere((text) => text === expected, JSON.stringify(expected));
  }

  /**
   * Waits until the text holds all of these parts; gives it.
   *
   * @param {string[]} parts
   */
  showsAll(...parts) {
    return this.textWhere((text) => parts.every((part) => text.includes(part)), parts.join(' and '));
  }

  /** @param {import('../../../node/page/src/save-tracker.js').SaveState} state */
  async saveState(state) {
    await this.page.locator(`[data-testid="save-state"][data-state="${state}"]`).waitFor();
  }

  /** @param {import('../../../node/page/src/save-tracker.js').Connection} state */
  async connection(state) {
    await this.page.locator(`[data-testid="connection"][data-state="${state}"]`).waitFor();
  }

  /** @param {string} name of a document in the list */
  listed(name) {
    return this.page.getByTestId('documents').getByRole('link', { name, exact: true });
  }

  close() {
    return this.page.context().close();
  }

  /**
   * Waits until the text satisfies the claim; gives it.
   *
   * @param {(text: string) => boolean} claim
   * @param {string} words for it
   */
  async textWhere(claim, words) {
    const deadline = Date.now() + WAIT_MS_MAX;
    for (;;) {
      const text = await this.text();
      if (claim(text)) {
        return text;
      }
      assert.ok(Date.now() < deadline, `the text is ${JSON.stringify(text)}, expected ${words}`);
      await this.page.evaluate(() => new Promise(requestAnimationFrame));
    }
  }
}
