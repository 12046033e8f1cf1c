// A TCP proxy before the server: it counts bytes and cuts connections without a goodbye.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

import { atEnd } from './cleanup.mjs';

/** A way to `server` with counters of its own; usually one per client. */
export async function proxy(t, server) {
  const link = new Link(server);
  await link.listen();
  atEnd(t, () => link.close());
  return link;
}

class Link {
  #server;
  #listener;
  #connections = new Set();
  #budget = Infinity;

  /** Bytes passed on to the client, HTTP included. */
  toClient = 0;
  /** How many connections were cut. */
  cuts = 0;

  constructor(server) {
    this.#server = server;
  }

  async listen() {
    this.#listener = createServer((client) => this.#pair(client));
    this.#listener.listen(0, '127.0.0.1');
    await once(this.#listener, 'listening');
    this.host = `127.0.0.1:${this.#listener.address().port}`;
  }

  /** Resets every connection that has begun to talk. A handshake is let through: stock clients throw if it fails. */
  cut() {
    for (const connection of this.#connections) {
      if (connection.talking) this.#reset(connection);
    }
  }

  /** Cuts after `bytes` more in either direction, so that frames are torn apart. */
  cutAfter(bytes) {
    this.#budget = bytes;
  }

  /** Cuts, and refuses every further connection. */
  vanish() {
    this.#listener.close();
    this.cut();
  }

  close() {
    this.#listener.close();
    for (const { client, upstream } of this.#connections) {
      client.destroy();
      upstream.destroy();
    }
  }

  #pair(client) {
    const [host, port] = this.#server.host.split(':');
    const upstream = connect({ host, port: Number(port), noDelay: true });
    client.setNoDelay(true);
    const connection = { client, upstream, opened: false, talking: false };
    this.#connections.add(connection);
    this.#pass(connection, client, upstream, () => {
      connection.talking = connection.opened;
    });
    this.#pass(connection, upstream, client, (bytes) => {
      this.toClient += bytes;
      connection.opened = true;
    });
  }

  #pass(connection, from, to, count) {
    from.on('data', (chunk) => {
      const allowed = connection.talking ? Math.min(chunk.length, this.#budget) : chunk.length;
      count(allowed);
      if (!to.write(chunk.subarray(0, allowed))) {
        from.pause();
        to.once('drain', () => from.resume());
      }
      if (connection.talking) this.#budget -= allowed;
      if (this.#budget <= 0) {
        this.#budget = Infinity;
        this.#reset(connection);
      }
    });
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => this.#connections.delete(connection));
  }

  #reset(connection) {
    this.cuts += 1;
    this.#connections.delete(connection);
    connection.client.resetAndDestroy();
    connection.upstream.resetAndDestroy();
  }
}
