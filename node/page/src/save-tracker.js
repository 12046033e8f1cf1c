// Tells whether the server has on disk what this device has. y-websocket has no acknowledgement, so the page asks.
//
// Guarantees: never `saved` while an update that did not come from the server is not proven durable by a snapshot of
// the server; never asks while nothing is wanted or nobody could answer.

import { covers, isNothing, nothing, withUpdate } from './coverage.js';
import { Refused } from './server.js';

/**
 * - `opening`: the copy on this device is not read yet
 * - `saved`: the server has all of it on disk
 * - `saving`: not yet
 * - `kept`: not yet, the server cannot be reached, and the copy on this device has it
 * - `unkept`: as `kept`, but this browser keeps no copy
 * - `failed`: the server says that it cannot store
 *
 * @typedef {'opening' | 'saved' | 'saving' | 'kept' | 'unkept' | 'failed'} SaveState
 */

/** @typedef {'connecting' | 'connected' | 'offline' | 'refused'} Connection */

const ASK_MS_MIN = 150;
const ASK_MS_MAX = 2_000;

export class SaveTracker {
  #fetchDurable;
  #onChange;
  #wanted = nothing();
  /** @type {Connection} */
  #connection = 'connecting';
  #opened = false;
  #keepsCopy = false;
  #refused = false;
  #delay = ASK_MS_MIN;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {AbortController | null} */
  #asking = null;
  /** @type {SaveState} */
  #state = 'opening';

  /**
   * @param {(signal: AbortSignal) => Promise<import('yjs').Snapshot>} fetchDurable
   * @param {(state: SaveState) => void} onChange called with each new state
   */
  constructor(fetchDurable, onChange) {
    this.#fetchDurable = fetchDurable;
    this.#onChange = onChange;
  }

  get state() {
    return this.#state;
  }

  /** Whether something is wanted that neither the server nor this device is known to have stored. */
  get isAtRisk() {
    return this.#opened && !this.#keepsCopy && !isNothing(this.#wanted);
  }

  /**
   * The copy on this device was read, or cannot be.
   *
   * @param {{ keepsCopy: boolean }} copy
   */
  opened({ keepsCopy }) {
    this.#opened = true;
    this.#keepsCopy = keepsCopy;
    this.#report();
  }

  /**
   * This update did not come from the server, or the server may have lost it.
   *
   * @param {Uint8Array} update
   */
  want(update) {
    this.#wanted = withUpdate(this.#wanted, update);
    this.#delay = ASK_MS_MIN;
    this.#schedule();
    this.#report();
  }

  /** @param {Connection} connection */
  connection(connection) {
    this.#connection = connection;
    this.#delay = ASK_MS_MIN;
    if (connection !== 'connected') {
      this.#stop();
    }
    this.#schedule();
    this.#report();
  }

  /** Ends the asking. What was wanted stays unproven. */
  close() {
    this.#connection = 'offline';
    this.#stop();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = null;
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.#connection === 'connected' && this.#asking === null && !isNothing(this.#wanted)) {
      this.#timer = setTimeout(() => this.#ask(), this.#delay);
    }
  }

  async #ask() {
    const asking = new AbortController();
    this.#asking = asking;
    this.#delay = Math.min(this.#delay * 2, ASK_MS_MAX);
    let durable = nothing();
    let refused = false;
    try {
      durable = await this.#fetchDurable(asking.signal);
    } catch (error) {
      refused = error instanceof Refused;
    }
    if (this.#asking !== asking) {
      return; // Asked over a connection that is gone, perhaps of a server that is gone.
    }
    this.#asking = null;
    this.#refused = refused;
    if (covers(durable, this.#wanted)) {
      this.#wanted = nothing();
    }
    this.#schedule();
    this.#report();
  }

  #report() {
    const state = this.#current();
    if (state !== this.#state) {
      this.#state = state;
      this.#onChange(state);
    }
  }

  /** @returns {SaveState} */
  #current() {
    if (!this.#opened) {
      return 'opening';
    }
    if (isNothing(this.#wanted)) {
      return 'saved';
    }
    if (this.#connection === 'offline' || this.#connection === 'refused') {
      return this.#keepsCopy ? 'kept' : 'unkept';
    }
    return this.#refused ? 'failed' : 'saving';
  }
}
