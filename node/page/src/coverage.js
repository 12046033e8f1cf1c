// Whether a durable snapshot holds everything that this device wants stored.
//
// Guarantees: `covers` says yes only if every operation and every deletion that was added is in the snapshot; a
// state vector alone would miss deletions, which have no clock of their own.

import * as Y from 'yjs';

/**
 * What must become durable, in the shape of a snapshot: for each client the clock that must be reached, and the
 * ranges that must be deleted.
 *
 * @returns {Y.Snapshot}
 */
export function nothing() {
  return Y.createSnapshot(Y.createDeleteSet(), new Map());
}

/**
 * `wanted` and what this update (v1 encoding) brings.
 *
 * @param {Y.Snapshot} wanted
 * @param {Uint8Array} update
 * @returns {Y.Snapshot}
 */
export function withUpdate(wanted, update) {
  const { structs, ds } = Y.decodeUpdate(update);
  const clocks = new Map(wanted.sv);
  for (const struct of structs) {
    // A Skip marks a hole: it is what the update does not bring.
    if (!(struct instanceof Y.Skip)) {
      const { client, clock } = struct.id;
      clocks.set(client, Math.max(clocks.get(client) ?? 0, clock + struct.length));
    }
  }
  return Y.createSnapshot(Y.mergeDeleteSets([wanted.ds, ds]), clocks);
}

/**
 * Whether nothing is wanted.
 *
 * @param {Y.Snapshot} wanted
 */
export function isNothing(wanted) {
  return wanted.sv.size === 0 && wanted.ds.clients.size === 0;
}

/**
 * Whether everything wanted is in `durable`.
 *
 * @param {Y.Snapshot} durable
 * @param {Y.Snapshot} wanted
 */
export function covers(durable, wanted) {
  for (const [client, clock] of wanted.sv) {
    if ((durable.sv.get(client) ?? 0) < clock) {
      return false;
    }
  }
  // Sorted, and neighbouring ranges joined: a wanted range then lies inside a single one.
  const deleted = Y.mergeDeleteSets([durable.ds]).clients;
  for (const [client, ranges] of wanted.ds.clients) {
    if (!coversRanges(deleted.get(client) ?? [], ranges)) {
      return false;
    }
  }
  return true;
}

/**
 * @typedef {{ clock: number, len: number }} Range
 * @param {Range[]} outer sorted and joined
 * @param {Range[]} inner sorted and joined
 */
function coversRanges(outer, inner) {
  let index = 0;
  return inner.every(({ clock, len }) => {
    while (index < outer.length && outer[index].clock + outer[index].len < clock + len) {
      index += 1;
    }
    return index < outer.length && outer[index].clock <= clock;
  });
}
