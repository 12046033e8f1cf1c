import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as Y from 'yjs';
import { covers, isNothing, nothing, withUpdate } from '../src/coverage.js';

/** A document and every update that its edits made, in order. */
function writer(clientId = 1) {
  const doc = new Y.Doc();
  doc.clientID = clientId;
  const updates = [];
  doc.on('update', (update) => updates.push(update));
  return { doc, text: doc.getText('text'), updates };
}

function stored(...updates) {
  const doc = new Y.Doc();
  updates.forEach((update) => Y.applyUpdate(doc, update));
  return Y.snapshot(doc);
}

const wanting = (...updates) => updates.reduce(withUpdate, nothing());

test('nothing is covered by nothing', () => {
  assert.ok(isNothing(nothing()));
  assert.ok(covers(nothing(), nothing()));
  assert.ok(isNothing(wanting(Y.encodeStateAsUpdate(new Y.Doc()))));
});

test('an insertion is covered once its last character is', () => {
  const { text, updates } = writer();
  text.insert(0, 'tide');
  text.insert(4, 's');
  assert.ok(!covers(stored(), wanting(updates[0])));
  assert.ok(covers(stored(updates[0]), wanting(updates[0])));
  assert.ok(!covers(stored(updates[0]), wanting(...updates)));
  assert.ok(covers(stored(...updates), wanting(...updates)));
});

test('a deletion is not covered by an equal state vector', () => {
  const { text, updates } = writer();
  text.insert(0, 'tide');
  text.delete(1, 2);
  assert.ok(!isNothing(wanting(updates[1])));
  assert.ok(!covers(stored(updates[0]), wanting(updates[1])));
  assert.ok(covers(stored(...updates), wanting(updates[1])));
});

test('a deletion is covered by ranges that only together hold it, in any order', () => {
  const range = (clock, len) => ({ clock, len });
  const snapshot = (...ranges) => Y.createSnapshot({ clients: new Map([[1, ranges]]) }, new Map([[1, 9]]));
  const wanted = snapshot(range(1, 4));
  assert.ok(covers(snapshot(range(3, 3), range(0, 3)), wanted));
  assert.ok(!covers(snapshot(range(4, 2), range(0, 3)), wanted));
  assert.ok(!covers(snapshot(range(2, 7)), wanted));
  assert.ok(!covers(nothing(), wanted));
});

test('a hole in an update is not wanted', () => {
  const { text, updates } = writer();
  text.insert(0, 'a');
  text.insert(0, 'b');
  text.insert(0, 'c');
  const withHole = Y.mergeUpdates([updates[0], updates[2]]);
  assert.deepEqual([...wanting(withHole).sv], [[1, 3]]);
  assert.ok(!covers(stored(updates[0], updates[2]), wanting(withHole)));
  assert.ok(covers(stored(...updates), wanting(withHole)));
});

test('covered is exactly what brings a server nothing new', () => {
  const random = numbersFrom(7);
  for (let round = 0; round < 300; round += 1) {
    const writers = [writer(1), writer(2)];
    for (let edit = 0; edit < 8; edit += 1) {
      const { doc, text } = writers[random(2)];
      if (text.length > 0 && random(3) === 0) {
        const from = random(text.length);
        text.delete(from, 1 + random(text.length - from));
      } else {
        text.insert(random(text.length + 1), 'abc'.slice(random(3)));
      }
      if (random(2) === 0) {
        const other = writers.find((writer) => writer.doc !== doc).doc;
        Y.applyUpdate(other, Y.encodeStateAsUpdate(doc));
      }
    }
    const updates = writers.flatMap((writer) => writer.updates);
    const server = new Y.Doc();
    updates.filter(() => random(4) > 0).forEach((update) => Y.applyUpdate(server, update));
    const durable = Y.snapshot(server);
    for (const update of updates) {
      assert.equal(covers(durable, wanting(update)), bringsNothing(server, update), `round ${round}`);
    }
  }
});

function bringsNothing(server, update) {
  const before = new Y.Doc();
  Y.applyUpdate(before, Y.encodeStateAsUpdate(server));
  // What waits for something missing is not stored yet, whether it is new or not.
  before.store.pendingStructs = null;
  before.store.pendingDs = null;
  const snapshot = Y.snapshot(before);
  Y.applyUpdate(before, update);
  const waits = before.store.pendingStructs !== null || before.store.pendingDs !== null;
  return !waits && Y.equalSnapshots(snapshot, Y.snapshot(before));
}

/** Numbers below a bound, the same in each run. */
function numbersFrom(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}
