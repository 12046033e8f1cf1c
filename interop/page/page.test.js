// The page as people use it: a real browser, the real server, and a power cut now and then.

import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Server } from './support/server.js';
import { Tab } from './support/tab.js';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

describe('the page', { timeout: 300_000 }, () => {
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {Server} */
  let server;
  /** @type {Tab[]} */
  let tabs;

  before(async () => {
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
  });
  after(() => browser.close());

  beforeEach(async () => {
    tabs = [];
    server = await Server.create();
  });
  afterEach(async () => {
    const complaints = tabs.flatMap((tab) => tab.complaints);
    await Promise.all(tabs.map((tab) => tab.close()));
    await server.remove();
    assert.deepEqual(complaints, [], 'the browser complained');
  });

  /** Somebody new comes to the page. */
  async function visit(name = 'welcome', options = {}) {
    const tab = await Tab.open(browser, server, name, options);
    tabs.push(tab);
    return tab;
  }

  async function powerCut() {
    await server.kill();
    await server.start();
  }

  test('loads nothing from elsewhere and opens the welcome document', async () => {
    const tab = await visit('');
    assert.match(tab.response.headers()['content-security-policy'], /default-src 'self'/);
    await tab.saveState('saved');
    await tab.connection('connected');
    assert.equal(await tab.page.getByTestId('document-name').textContent(), 'welcome');
    assert.equal(await tab.page.evaluate(() => location.hash), '#welcome');
    const origins = await tab.page.evaluate(() => performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin));
    assert.deepEqual([...new Set(origins)], [new URL(server.url).origin]);
  });

  test('two people write at once and end with one text', async () => {
    const [ada, grace] = await Promise.all([visit(), visit()]);
    await Promise.all([ada.connection('connected'), grace.connection('connected')]);
    await ada.write('from ada ');
    await grace.shows('from ada ');
    await grace.write('from grace ');
    await ada.shows('from ada from grace ');
    await Promise.all([ada.write('abcdefghij'.repeat(5)), grace.write('0123456789'.repeat(5))]);
    const length = 'from ada from grace '.length + 100;
    const isWhole = (text) => text.length === length;
    assert.equal(await ada.textWhere(isWhole, 'all edits'), await grace.textWhere(isWhole, 'all edits'));
    await Promise.all([ada.saveState('saved'), grace.saveState('saved')]);
  });

  test('people see the name, the cursor and the badge of each other', async () => {
    const [ada, grace] = await Promise.all([visit(), visit()]);
    await ada.introduce('Ada <b>Byron</b>');
    await ada.write('where are you?');
    const label = grace.page.getByTestId('cursor-label');
    await label.waitFor();
    assert.equal(await label.textContent(), 'Ada <b>Byron</b>');
    const badges = grace.page.getByTestId('people').getByRole('listitem');
    await grace.page.getByTestId('people').getByTitle('Ada <b>Byron</b>').waitFor();
    assert.equal(await badges.count(), 2);
    await ada.introduce('Ada');
    await label.filter({ hasText: /^Ada$/ }).waitFor();
    await ada.close();
    await label.waitFor({ state: 'detached' });
    await grace.page.getByTestId('people').getByTitle('Ada').waitFor({ state: 'detached' });
  });

  test('what was shown as saved outlives a power cut', async () => {
    const ada = await visit('ledger');
    await ada.write('one two three');
    await ada.saveState('saved');
    await server.kill();
    await ada.close();
    await server.start();
    const grace = await visit('ledger');
    await grace.shows('one two three');
  });

  test('a deletion that was shown as saved outlives a power cut', async () => {
    const ada = await visit('ledger');
    await ada.write('to be deleted');
    await ada.saveState('saved');
    await ada.clear();
    await ada.saveState('saved');
    await server.kill();
    await ada.close();
    await server.start();
    const grace = await visit('ledger');
    await grace.connection('connected');
    await grace.shows('');
  });

  test('a server that stands still never makes it say saved', async () => {
    const ada = await visit();
    await ada.write('before');
    await ada.saveState('saved');
    server.freeze();
    const asked = ada.page.waitForRequest('**/durable');
    await ada.write(' and after');
    await asked;
    await ada.saveState('saving');
    server.thaw();
    await ada.saveState('saved');
  });

  test('without a server both write on, and all of it meets again', async () => {
    const [ada, grace] = await Promise.all([visit(), visit()]);
    await ada.write('together ');
    await grace.shows('together ');
    await Promise.all([ada.saveState('saved'), grace.saveState('saved')]);
    await server.kill();
    await Promise.all([ada.connection('offline'), grace.connection('offline')]);
    await Promise.all([ada.write('ada alone '), grace.write('grace alone ')]);
    await Promise.all([ada.saveState('kept'), grace.saveState('kept')]);
    await server.start();
    const texts = await Promise.all([ada, grace].map((tab) => tab.showsAll('together ', 'ada alone ', 'grace alone ')));
    assert.equal(texts[0], texts[1]);
    await Promise.all([ada.saveState('saved'), grace.saveState('saved')]);
  });

  test('people see each other again after the server was gone', async () => {
    const [ada, grace] = await Promise.all([visit(), visit()]);
    await ada.introduce('Ada');
    const badge = grace.page.getByTestId('people').getByTitle('Ada', { exact: true });
    await badge.waitFor();
    await server.kill();
    await badge.waitFor({ state: 'detached' });
    await server.start();
    await badge.waitFor();
  });

  test('what was written offline outlives a reload', async () => {
    const ada = await visit();
    await ada.write('online ');
    await ada.saveState('saved');
    await server.kill();
    await ada.write('offline');
    await ada.saveState('kept');
    await server.start();
    await ada.page.reload();
    await ada.shows('online offline');
    await ada.saveState('saved');
    const grace = await visit();
    await grace.shows('online offline');
  });

  test('a document left with unsaved edits is marked until it is opened again', async () => {
    const ada = await visit('first');
    await ada.write('start');
    await ada.saveState('saved');
    await server.kill();
    await ada.write(' and more');
    await ada.saveState('kept');
    await ada.page.evaluate(() => (location.hash = '#second'));
    const mark = ada.page.getByTestId('documents').getByText('not saved');
    await mark.waitFor();
    await server.start();
    await ada.connection('connected');
    await ada.listed('first').click();
    await ada.shows('start and more');
    await ada.saveState('saved');
    await ada.listed('second').click();
    await ada.shows('');
    await mark.waitFor({ state: 'detached' });
  });

  test('a new document appears in the list, for others too', async () => {
    const [ada, grace] = await Promise.all([visit(), visit()]);
    await ada.page.getByTestId('open-name').fill('Tide tables');
    await ada.page.keyboard.press('Enter');
    await ada.page.getByTestId('document-name').filter({ hasText: 'Tide tables' }).waitFor();
    await ada.write('high at noon');
    await ada.saveState('saved');
    await ada.listed('Tide tables').waitFor();
    await grace.listed('Tide tables').click();
    await grace.shows('high at noon');
  });

  for (const name of ['a b/c?d#e%f&g', 'Größe 😀', '<img src=x onerror=alert(1)>', '../x', 'x'.repeat(512)]) {
    test(`a document can be called ${name.slice(0, 40)}`, async () => {
      const ada = await visit(name);
      await ada.write('named');
      await ada.saveState('saved');
      assert.equal(await ada.page.getByTestId('document-name').textContent(), name);
      const grace = await visit();
      await grace.listed(name).click();
      await grace.shows('named');
    });
  }

  test('a name that cannot be is refused with a reason', async () => {
    const ada = await visit();
    await ada.page.getByTestId('open-name').fill('..');
    await ada.page.getByTestId('open').click();
    assert.match(await ada.page.getByTestId('open-name').evaluate((field) => field.validationMessage), /no name/);
    assert.equal(await ada.page.getByTestId('document-name').textContent(), 'welcome');
  });

  test('one undoes only what one wrote', async () => {
    const [ada, grace] = await Promise.all([visit(), visit()]);
    await ada.write('ada ');
    await grace.shows('ada ');
    await grace.write('grace ');
    await ada.shows('ada grace ');
    await ada.page.keyboard.press('Control+z');
    await Promise.all([ada.shows('grace '), grace.shows('grace ')]);
    await ada.page.keyboard.press('Control+Shift+Z');
    await Promise.all([ada.shows('ada grace '), grace.shows('ada grace ')]);
  });

  test('foreign line ends do not shift what others write', async () => {
    const [ada, grace] = await Promise.all([visit(), visit()]);
    await ada.editor.focus();
    await ada.editor.evaluate((editor) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', 'one\r\ntwo\r\n');
      editor.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    });
    await grace.shows('one\ntwo\n');
    await grace.write('three');
    await ada.shows('one\ntwo\nthree');
    await ada.write('!');
    await grace.shows('one\ntwo\nthree!');
  });

  test('on a phone the documents are in a drawer', async () => {
    const ada = await visit('welcome', { viewport: { width: 360, height: 720 }, hasTouch: true, isMobile: true });
    await ada.saveState('saved');
    assert.equal(await ada.listed('welcome').isVisible(), false);
    await ada.page.getByTestId('menu').tap();
    await ada.listed('welcome').waitFor();
    await ada.page.getByTestId('open-name').fill('pocket');
    await ada.page.keyboard.press('Enter');
    await ada.page.getByTestId('document-name').filter({ hasText: 'pocket' }).waitFor();
    await ada.listed('pocket').waitFor({ state: 'hidden' });
    const overflow = await ada.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.equal(overflow, 0);
  });

  test('pictures of both themes, for people to look at', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tombolo-pictures-'));
    for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
      const viewport = { width: 1280, height: 800 };
      const [ada, grace] = await Promise.all([visit(colorScheme, { colorScheme, viewport }), visit(colorScheme)]);
      await ada.introduce('Ada');
      await grace.introduce('Grace');
      await ada.write('# The path over the sand\n\nAt low tide the *island* is part of the **land**.\n\n- boots\n');
      await grace.showsAll('boots');
      await grace.write('a map');
      await ada.showsAll('a map');
      await ada.saveState('saved');
      await ada.page.screenshot({ path: join(folder, `${colorScheme}.png`) });
    }
    console.log(`pictures: ${folder}`);
  });
});
