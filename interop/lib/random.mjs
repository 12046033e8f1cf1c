// A seeded generator: the same seed makes the same choices.

const WORDS = ['a', 'tombolo ', 'é', '👩‍👩‍👧 ', 'שלום', '\n', 'e\u0301', '漢字'];

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1), by mulberry32. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [0, below). */
  below(below) {
    return Math.floor(this.next() * below);
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(items) {
    return items[this.below(items.length)];
  }

  /** A piece of text: ASCII, composed, combining, right to left, outside the basic plane. */
  word() {
    return this.pick(WORDS);
  }

  bytes(length) {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}
