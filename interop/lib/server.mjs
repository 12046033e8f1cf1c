// The server under test: the built binary as a child process, on a port that the system chose.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { atEnd } from './cleanup.mjs';
import { cluster } from './cluster.mjs';
import { until } from './wait.mjs';

const STOP_PATIENCE_MS = 30_000;

/** Starts `tombolo serve` on a new data folder. It must stop cleanly when the test ends. With TOMBOLO_CLUSTER it is
 * three relays and an archive instead. */
export async function serve(t, ...flags) {
  if (process.env.TOMBOLO_CLUSTER) return cluster(t, { archive: true, flags });
  return Server.start(t, ['serve', '--data', await dataFolder(t), ...flags]);
}

/** Starts `tombolo relay`, which keeps nothing. With TOMBOLO_CLUSTER it is three of them. */
export async function relay(t, ...flags) {
  if (process.env.TOMBOLO_CLUSTER) return cluster(t, { archive: false, flags });
  return Server.start(t, ['relay', ...flags]);
}

/** A new data folder, for the engine that TOMBOLO_DATA_ENGINE names. */
export async function dataFolder(t) {
  const data = await mkdtemp(join(tmpdir(), 'tombolo-interop-'));
  atEnd(t, () => rm(data, { recursive: true, force: true }));
  const engine = process.env.TOMBOLO_DATA_ENGINE;
  return engine ? `${engine}:${data}` : data;
}

export class Server {
  #args;
  #child;
  #stderr = '';

  static async start(t, args) {
    const server = new Server(args);
    await server.#spawn('127.0.0.1:0');
    atEnd(t, () => server.#stop());
    return server;
  }

  constructor(args) {
    this.#args = args;
  }

  /** Ends the process as a crash would: nothing is flushed, nobody is told. */
  async kill9() {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  /** Starts it again with the same arguments, data and port. */
  restart() {
    return this.#spawn(this.host);
  }

  get alive() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The body of a GET. Anything but 200 is an error. */
  async get(path) {
    const response = await fetch(`http://${this.host}${path}`);
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return response.text();
  }

  /** Open connections of clients; other servers are none. */
  clients() {
    return this.metric('tombolo_connections', (labels) => !labels.includes('"native"'));
  }

  /** The sum over all labels of one metric, or some of them; 0 if it was never touched. */
  async metric(name, counts = () => true) {
    const lines = (await this.get('/metrics')).split('\n');
    const named = lines.filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    const values = named.filter((line) => counts(line.slice(name.length)));
    return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  async #spawn(listen) {
    const binary = process.env.TOMBOLO_BIN;
    if (!binary) throw new Error('set TOMBOLO_BIN to the path of the built binary');
    const child = spawn(binary, [...this.#args, '--listen', listen], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    process.once('exit', () => child.kill('SIGKILL'));
    child.stderr.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-20_000);
    });
    const exited = once(child, 'exit').then(() => this.#fail('ended before it was ready'));
    ({ host: this.host, dropIns: this.dropIns } = await Promise.race([ready(child.stdout), exited]));
    exited.catch(() => {}); // From here on an exit is noticed by `#stop`.
    child.stdout.resume();
  }

  async #stop() {
    if (this.#child.signalCode === 'SIGKILL') return;
    if (!this.alive) this.#fail('ended by itself');
    this.#child.kill('SIGTERM');
    await until(() => !this.alive, STOP_PATIENCE_MS).catch(() => {
      this.#child.kill('SIGKILL');
      this.#fail('did not answer SIGTERM');
    });
    if (this.#child.exitCode !== 0)
      this.#fail(`answered SIGTERM with ${this.#child.exitCode ?? this.#child.signalCode}`);
  }

  #fail(what) {
    throw new Error(`tombolo ${this.#args.join(' ')} ${what}; stderr:\n${this.#stderr}`);
  }
}

/** Reads what is announced, up to its line about health, which both commands print last of all addresses. */
async function ready(stdout) {
  let host;
  const dropIns = {};
  for await (const line of createInterface({ input: stdout })) {
    host ??= /^ {2}y-websocket +ws:\/\/(\S+)\/yjs$/.exec(line)?.[1];
    const dropIn = /^ {2}drop-in +(ws:\/\/[^\s/]+)\S* +(\w+)$/.exec(line);
    if (dropIn) dropIns[dropIn[2]] = { url: dropIn[1] };
    if (/^ {2}health /.test(line)) return { host, dropIns };
  }
  return new Promise(() => {}); // The exit tells more.
}
