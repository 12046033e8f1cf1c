// A tombolo process under test: started on a free port, killed as a power cut would, started again in the same place.
//
// Guarantees: `start` returns when the page can be opened, `kill` when the process is gone.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PAGE = /^\s*page\s+(http:\/\/([^/\s]+)\/)/;

export class Server {
  #data;
  #listen = '127.0.0.1:0';
  #process;
  /** Whether it was ever down: clients may then complain about the network. */
  wasDown = false;

  /** A server with an empty data folder. */
  static async create() {
    const server = new Server();
    server.#data = await mkdtemp(join(tmpdir(), 'tombolo-page-'));
    await server.start();
    return server;
  }

  async start() {
    const binary = process.env.TOMBOLO_BIN;
    if (!binary) {
      throw new Error('set TOMBOLO_BIN to the path of the tombolo binary');
    }
    this.#process = spawn(binary, ['serve', '--listen', this.#listen, '--data', this.#data], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface({ input: this.#process.stdout })) {
      const page = PAGE.exec(line);
      if (page) {
        [, this.url, this.#listen] = page;
        return;
      }
    }
    throw new Error(`${binary} ended before its page was ready`);
  }

  async kill() {
    this.wasDown = true;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  /** Leaves it running without a chance to do anything, as a stalled disk would. */
  freeze() {
    this.#process.kill('SIGSTOP');
  }

  thaw() {
    this.#process.kill('SIGCONT');
  }

  async remove() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      await this.kill();
    }
    await rm(this.#data, { recursive: true });
  }
}
