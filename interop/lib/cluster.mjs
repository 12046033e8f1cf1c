// Several servers that are one: relays on a NATS server, and, for what is to be kept, an archive on one of the relays.
// Clients are spread over the relays in turn.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

import { atEnd } from './cleanup.mjs';
import { Server, dataFolder } from './server.mjs';
import { until } from './wait.mjs';

const RELAYS = 3;

/** Starts a real nats-server; it can be killed and started again at the same address. */
export async function nats(t) {
  const server = new Nats(await freePort());
  await server.start();
  atEnd(t, () => server.kill9());
  return server;
}

/** Starts relays on a NATS server, and an archive on them if asked to; all know each other when it returns. */
export async function cluster(t, { archive, flags = [] }) {
  const bus = await nats(t);
  const start = () => Server.start(t, ['relay', '--backplane', bus.url, ...flags]);
  const relays = await Promise.all(Array.from({ length: RELAYS }, start));
  const store = archive ? await archiveOf(t, relays) : null;
  const all = new Cluster(bus, relays, store);
  await all.joined();
  return all;
}

/** Starts `tombolo serve` as the archive of relays: at one of them, at the next when that is gone. */
export async function archiveOf(t, relays, ...flags) {
  const doors = relays.flatMap((relay) => ['--relay', `ws://${relay.host}`]);
  return Server.start(t, ['serve', '--data', await dataFolder(t), ...doors, ...flags]);
}

class Cluster {
  #turn = 0;

  constructor(bus, relays, archive) {
    Object.assign(this, { bus, relays, archive });
  }

  /** The next relay in turn. */
  get host() {
    return this.relays[this.#turn++ % this.relays.length].host;
  }

  get servers() {
    return this.archive ? [...this.relays, this.archive] : this.relays;
  }

  get alive() {
    return this.servers.every((server) => server.alive);
  }

  /** Waits until each has met all others. */
  async joined() {
    const others = this.servers.length - 1;
    for (const server of this.servers) await until(async () => (await server.metric('tombolo_peers')) === others);
  }

  /** Kills all of them in the same moment, but for NATS. */
  async kill9() {
    await Promise.all(this.servers.map((server) => server.kill9()));
  }

  async restart() {
    await Promise.all(this.servers.map((server) => server.restart()));
    await this.joined();
  }

  get(path) {
    return (this.archive ?? this.relays[0]).get(path);
  }

  /** The sum over all of them. */
  metric(name) {
    return this.#sum((server) => server.metric(name));
  }

  clients() {
    return this.#sum((server) => server.clients());
  }

  async #sum(of) {
    const values = await Promise.all(this.servers.map(of));
    return values.reduce((sum, value) => sum + value, 0);
  }
}

class Nats {
  #child;

  constructor(port) {
    this.port = port;
    this.url = `nats://127.0.0.1:${port}`;
  }

  async start() {
    const binary = process.env.TOMBOLO_NATS_SERVER ?? 'nats-server';
    const child = spawn(binary, ['-a', '127.0.0.1', '-p', `${this.port}`], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    process.once('exit', () => child.kill('SIGKILL'));
    const ready = new Promise((resolve, reject) => {
      child.once('error', reject);
      let log = '';
      child.stderr.on('data', (text) => {
        log += text;
        if (log.includes('Server is ready')) resolve();
      });
      child.once('exit', () => reject(new Error(`nats-server ended before it was ready:\n${log}`)));
    });
    await ready;
  }

  async kill9() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** A port that nobody has: NATS has to come back at the same one. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
