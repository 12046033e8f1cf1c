// A WebSocket without a client behind it: sends what it is given, keeps what it gets.

import { once } from 'node:events';

import WebSocket from 'ws';

import { atEnd } from './cleanup.mjs';
import { until } from './wait.mjs';

/** Opens `path` on a server or proxy. */
export async function rawSocket(t, at, path) {
  const socket = new RawSocket(`ws://${at.host}${path}`);
  atEnd(t, () => socket.terminate());
  await socket.opened;
  return socket;
}

class RawSocket {
  #socket;

  /** Binary frames in the order of arrival. */
  frames = [];
  /** The code and reason that the server closed with, once it has. */
  closed = null;

  constructor(url) {
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = 'nodebuffer';
    this.#socket.on('message', (data) => this.frames.push(new Uint8Array(data)));
    this.#socket.on('error', () => {}); // A reset while writing; `closed` tells.
    this.#socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.opened = once(this.#socket, 'open');
  }

  /** Sends bytes as one binary frame, a string as one text frame. */
  send(frame) {
    this.#socket.send(frame);
  }

  /** Waits until the server has read all that was sent, or has closed. */
  async settled() {
    let answered = false;
    this.#socket.once('pong', () => {
      answered = true;
    });
    this.#socket.ping(undefined, undefined, () => {});
    await until(() => answered || this.closed);
  }

  /** Writes to the TCP stream itself, past all framing. */
  writeUnframed(bytes) {
    this.#socket._socket.write(bytes);
  }

  terminate() {
    this.#socket.terminate();
  }
}
