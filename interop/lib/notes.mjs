// A folder of notes and the real `tombolo note` on it, as somebody uses it on a device that is offline most of the time.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { atEnd } from './cleanup.mjs';
import { dataFolder } from './server.mjs';

/** A device with notes, which are in a folder of their own. */
export class Notes {
  #data;
  #staying = null;

  static async make(t) {
    const notes = new Notes(await dataFolder(t));
    atEnd(t, () => notes.kill9());
    return notes;
  }

  constructor(data) {
    this.#data = data;
  }

  /** Runs a command; its exit code, and what it says with --json. */
  async run(args, { env = {}, onStart = () => {} } = {}) {
    const child = this.#start([...args, '--json'], env);
    onStart(child);
    const said = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) child[stream].on('data', (text) => (said[stream] += text));
    const [code] = await once(child, 'close');
    return { code, json: said.stdout ? JSON.parse(said.stdout) : null, stderr: said.stderr };
  }

  /** Runs a command that must go well; what it says. */
  async good(...args) {
    const { code, json, stderr } = await this.run(args);
    if (code !== 0) throw new Error(`tombolo note ${args.join(' ')} ended with ${code}: ${stderr}`);
    return json;
  }

  link(at) {
    return this.good('link', 'add', `ws://${at.host}`);
  }

  /** What a note says. */
  async text(name) {
    return (await this.good('show', name)).text;
  }

  /** Puts a line at the end of a note, in an editor. */
  async append(name, line) {
    const env = { EDITOR: `printf '%s\\n' '${line}' >>`, VISUAL: '' };
    const { code, stderr } = await this.run(['edit', name], { env });
    if (code !== 0) throw new Error(`${name} was not edited: ${stderr}`);
  }

  /** `note sync` for at most so long; whether all links are in sync, and whether it is kept there for sure. */
  async sync(seconds = 60, options = {}) {
    const { code, json, stderr } = await this.run(['sync', '--limit', `${seconds}`], options);
    const links = json?.links ?? [];
    return { code, links, stderr, kept: code === 0 && links.every((link) => link.in_sync && link.kept) };
  }

  /** `note sync --stay`, until `rest` or `kill9`. */
  stay() {
    this.#staying = this.#start(['sync', '--stay', '--json'], {});
    this.#staying.stdout.resume();
    this.#staying.stderr.resume();
  }

  /** Ctrl-C. */
  async rest() {
    const child = this.#staying;
    this.#staying = null;
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    const [code, signal] = await exited;
    return code ?? signal;
  }

  /** As a crash or an empty battery would end it. */
  async kill9() {
    const child = this.#staying;
    this.#staying = null;
    if (!child) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  #start(args, env) {
    const child = spawn(process.env.TOMBOLO_BIN, ['note', ...args, '--data', this.#data], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    process.once('exit', () => child.kill('SIGKILL'));
    return child;
  }
}
