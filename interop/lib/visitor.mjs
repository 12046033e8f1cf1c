// The example `visitors` of the crate: a Rust program with a replica of its own, which shows who is in a document.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

import { atEnd } from './cleanup.mjs';
import { dataFolder } from './server.mjs';
import { until } from './wait.mjs';

/** Somebody in a document. */
export class Visitor {
  #child;
  #lines = [];

  static async start(t, at, name) {
    const visitor = new Visitor(await dataFolder(t), at, name);
    atEnd(t, () => visitor.kill9());
    await until(() => visitor.id !== undefined);
    return visitor;
  }

  constructor(data, at, name) {
    const program = join(dirname(process.env.TOMBOLO_BIN), 'examples/visitors');
    const child = spawn(program, [data, `ws://${at.host}`, name], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => {}); // It may be killed while it is written to.
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.#lines.push(line));
    process.once('exit', () => child.kill('SIGKILL'));
  }

  #said(word) {
    return this.#lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  }

  /** Under which client id it shows itself. */
  get id() {
    const id = this.#said('id')[0];
    return id && Number(id);
  }

  /** The states of the others, by their client ids. */
  get others() {
    return JSON.parse(this.#said('here').at(-1) ?? '{}');
  }

  show(name) {
    this.#child.stdin.write(`${name}\n`);
  }

  /** It ends as it should. */
  async leave() {
    const exited = once(this.#child, 'exit');
    this.#child.stdin.end();
    return exited;
  }

  /** As a crash or an empty battery would end it. */
  async kill9() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
