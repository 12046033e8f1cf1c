// Automerge documents in tests: random edits, and what makes two of them equal.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';

import * as Automerge from '@automerge/automerge';

import { until } from './wait.mjs';

export const EMPTY = { text: '', list: [], map: {}, marks: [] };

/** Makes one random edit to text, map or list. */
export function scribble(handle, random) {
  handle.change((doc) => {
    const edit = random.pick([insertText, deleteText, setKey, pushItem, deleteItem]);
    edit(doc, random);
  });
}

function insertText(doc, random) {
  Automerge.splice(doc, ['text'], random.below(doc.text.length + 1), 0, random.word());
}

function deleteText(doc, random) {
  if (doc.text.length > 0) Automerge.splice(doc, ['text'], random.below(doc.text.length), 1);
}

function setKey(doc, random) {
  doc.map[`key ${random.below(5)}`] = random.below(1000);
}

function pushItem(doc, random) {
  doc.list.splice(random.below(doc.list.length + 1), 0, random.word());
}

function deleteItem(doc, random) {
  if (doc.list.length > 0) doc.list.splice(random.below(doc.list.length), 1);
}

/** Waits until these handles hold equal documents with equal heads, and shows a difference if they stay apart. */
export async function untilEqual(...handles) {
  const states = () => handles.map((handle) => ({ heads: [...handle.heads()].sort(), doc: handle.doc() }));
  const equal = () => {
    const [first, ...others] = states();
    return (
      others.every(({ heads }) => isDeepStrictEqual(heads, first.heads)) &&
      others.every(({ doc }) => isDeepStrictEqual(doc, first.doc))
    );
  };
  await until(equal).catch((failure) => {
    const [first, ...others] = states();
    for (const other of others) assert.deepEqual(other, first);
    throw failure;
  });
}

/** Waits until the server has confirmed all that this handle of `client` holds. */
export async function untilServerHas(client, handle) {
  await until(() => {
    const confirmed = handle.getSyncInfo(client.serverStorageId)?.lastHeads ?? [];
    return isDeepStrictEqual([...confirmed].sort(), [...handle.heads()].sort());
  });
}
