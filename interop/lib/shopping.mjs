// The example `shopping` of the crate: a Rust program with a replica of its own, linked to a server.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

import { atEnd } from './cleanup.mjs';
import { dataFolder } from './server.mjs';
import { until } from './wait.mjs';

/** A device with a list. What is in its folder outlives its processes. */
export class Shopping {
  #data;
  #at;
  #child = null;
  #lines = [];

  /** Starts it, on a new list unless `url` names one. A relay keeps no Automerge documents, so it goes to the archive. */
  static async start(t, at, url) {
    const shopping = new Shopping(await dataFolder(t), at.archive ?? at);
    atEnd(t, () => shopping.kill9());
    await shopping.run(url);
    return shopping;
  }

  constructor(data, at) {
    this.#data = data;
    this.#at = at;
  }

  /** Starts the program, again with what it has. */
  async run(url = this.url) {
    const program = join(dirname(process.env.TOMBOLO_BIN), 'examples/shopping');
    const args = [this.#data, `ws://${this.#at.host}`, ...(url ? [url] : [])];
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => {}); // It may be killed while it is written to.
    this.#child = child;
    this.#lines = [];
    createInterface({ input: child.stdout }).on('line', (line) => this.#lines.push(line));
    process.once('exit', () => child.kill('SIGKILL'));
    await until(() => this.url !== undefined);
  }

  #said(word) {
    return this.#lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  }

  get url() {
    return this.#said('url')[0];
  }

  /** What it showed last. */
  get items() {
    return this.#said('list').at(-1)?.split(', ').filter((item) => item !== '');
  }

  /** What it was told is kept by the server. */
  get kept() {
    return this.#said('kept');
  }

  put(item) {
    this.#child.stdin.write(`${item}\n`);
  }

  /** As a crash or an empty battery would end it. */
  async kill9() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}
