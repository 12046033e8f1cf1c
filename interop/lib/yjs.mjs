// Yjs documents in tests: random edits, and what makes two of them equal.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';

import * as Y from 'yjs';

import { until } from './wait.mjs';

/** Makes one random edit to text, map or list. */
export function scribble(doc, random) {
  doc.transact(() => {
    const edit = random.pick([
      insertText,
      insertText,
      insertText,
      deleteText,
      formatText,
      setKey,
      pushItem,
      deleteItem,
      editNested,
    ]);
    edit(doc, random);
  });
}

function insertText(doc, random) {
  const text = doc.getText('text');
  text.insert(placeIn(text, random), random.word());
}

function deleteText(doc, random) {
  const text = doc.getText('text');
  const [from, to] = rangeIn(text, random);
  if (from < to) text.delete(from, to - from);
}

function formatText(doc, random) {
  const text = doc.getText('text');
  const [from, to] = rangeIn(text, random);
  if (from < to) text.format(from, to - from, { bold: random.pick([true, null]) });
}

function placeIn(text, random) {
  return characterBoundary(text, random.below(text.length + 1));
}

function rangeIn(text, random) {
  const from = placeIn(text, random);
  return [from, characterBoundary(text, Math.min(from + random.below(8), text.length))];
}

/** Moves off the middle of a surrogate pair, as editors do: Yjs clients diverge where one is cut. */
function characterBoundary(text, place) {
  const unit = text.toString().charCodeAt(place);
  return unit >= 0xdc00 && unit <= 0xdfff ? place - 1 : place;
}

function setKey(doc, random) {
  doc.getMap('map').set(`key ${random.below(5)}`, random.below(1000));
}

function pushItem(doc, random) {
  const list = doc.getArray('list');
  list.insert(random.below(list.length + 1), [random.word(), random.below(1000)]);
}

function deleteItem(doc, random) {
  const list = doc.getArray('list');
  if (list.length > 0) list.delete(random.below(list.length), 1);
}

function editNested(doc, random) {
  const map = doc.getMap('map');
  const nested = map.get('nested');
  if (nested instanceof Y.Text && !random.chance(0.05)) nested.insert(0, random.word());
  else map.set('nested', new Y.Text(random.word()));
}

/** A list for numbered marks, to count edits that were lost or came twice. */
export function marksOf(doc) {
  return doc.getArray('marks');
}

/** Everything that equal documents have in common: content, versions, deletions, and nothing left pending. */
export function stateOf(doc) {
  return {
    text: doc.getText('text').toDelta(),
    map: doc.getMap('map').toJSON(),
    list: doc.getArray('list').toJSON(),
    marks: marksOf(doc).toJSON(),
    versionsAndDeletions: Buffer.from(Y.encodeSnapshot(Y.snapshot(doc))).toString('hex'),
    pending: doc.store.pendingStructs !== null || doc.store.pendingDs !== null,
  };
}

/** Waits until the documents of all these clients are equal, and shows a difference if they stay apart. */
export async function untilEqual(...clients) {
  const states = () => clients.map(({ doc }) => stateOf(doc));
  const equal = () => states().every((state, _, [first]) => isDeepStrictEqual(state, first));
  await until(equal).catch((failure) => {
    const [first, ...others] = states();
    for (const other of others) assert.deepEqual(other, first);
    throw failure;
  });
}

/** Resolves with the origin of the change that removes `clientId` from `awareness`: 'timeout' if nobody said goodbye. */
export function removalOf(clientId, awareness) {
  return new Promise((resolve) => {
    awareness.on('change', ({ removed }, origin) => {
      if (removed.includes(clientId)) resolve(origin);
    });
  });
}
