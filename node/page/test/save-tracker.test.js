import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import * as Y from 'yjs';
import { SaveTracker } from '../src/save-tracker.js';
import { Refused } from '../src/server.js';

/** @type {Y.Doc} what the writer has */
let local;
/** @type {Y.Doc} what the server has on disk */
let disk;
/** @type {SaveTracker} */
let tracker;
let asked;
let states;
/** @type {() => Promise<Y.Snapshot>} */
let answer;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout'] });
  local = new Y.Doc();
  disk = new Y.Doc();
  asked = 0;
  states = [];
  answer = async () => Y.snapshot(disk);
  tracker = new SaveTracker(
    () => {
      asked += 1;
      return answer();
    },
    (state) => states.push(state),
  );
  local.on('update', (update) => tracker.want(update));
});

const write = () => local.getText('text').insert(0, 'x');
const store = () => Y.applyUpdate(disk, Y.encodeStateAsUpdate(local));

/** Lets time pass, and lets what became due run. */
async function pass(ms) {
  mock.timers.tick(ms);
  await new Promise(setImmediate);
}

function online() {
  tracker.opened({ keepsCopy: true });
  tracker.connection('connected');
}

test('says saved only after the proof', async () => {
  online();
  assert.equal(tracker.state, 'saved');
  write();
  assert.equal(tracker.state, 'saving');
  await pass(150);
  assert.equal(tracker.state, 'saving');
  store();
  await pass(300);
  assert.equal(tracker.state, 'saved');
  assert.deepEqual(states, ['saved', 'saving', 'saved']);
});

test('a deletion needs a proof of its own', async () => {
  online();
  write();
  store();
  await pass(150);
  local.getText('text').delete(0, 1);
  await pass(150);
  assert.equal(tracker.state, 'saving');
  store();
  await pass(300);
  assert.equal(tracker.state, 'saved');
});

test('asks less and less often, and at once again after an edit', async () => {
  online();
  write();
  for (const ms of [150, 300, 600, 1200, 2000, 2000]) {
    const before = asked;
    await pass(ms - 1);
    assert.equal(asked, before, `early by 1 of ${ms} ms`);
    await pass(1);
    assert.equal(asked, before + 1, `late after ${ms} ms`);
  }
  write();
  await pass(150);
  assert.equal(asked, 7);
});

test('asks nothing while nothing is wanted or nobody is there', async () => {
  online();
  await pass(10_000);
  tracker.connection('offline');
  write();
  await pass(10_000);
  assert.equal(asked, 0);
  tracker.connection('connected');
  store();
  await pass(150);
  assert.equal(asked, 1);
  assert.equal(tracker.state, 'saved');
  await pass(10_000);
  assert.equal(asked, 1);
});

test('offline it says where the edits are', () => {
  tracker.opened({ keepsCopy: true });
  tracker.connection('offline');
  assert.equal(tracker.state, 'saved');
  write();
  assert.equal(tracker.state, 'kept');
  assert.ok(!tracker.isAtRisk);
  tracker.opened({ keepsCopy: false });
  assert.equal(tracker.state, 'unkept');
  assert.ok(tracker.isAtRisk);
});

test('is opening until the copy on this device is read', async () => {
  tracker.connection('connected');
  write();
  store();
  await pass(150);
  assert.equal(tracker.state, 'opening');
  tracker.opened({ keepsCopy: true });
  assert.equal(tracker.state, 'saved');
});

test('a server that cannot store is told apart from one that cannot be heard', async () => {
  online();
  write();
  answer = () => Promise.reject(new Refused('503'));
  await pass(150);
  assert.equal(tracker.state, 'failed');
  answer = () => Promise.reject(new TypeError('network'));
  await pass(300);
  assert.equal(tracker.state, 'saving');
  answer = async () => Y.snapshot(disk);
  store();
  await pass(600);
  assert.equal(tracker.state, 'saved');
});

test('an edit after the question is not covered by the answer', async () => {
  online();
  write();
  store();
  const old = Y.snapshot(disk);
  let give;
  answer = () => new Promise((resolve) => (give = resolve));
  await pass(150);
  write();
  give(old);
  await pass(0);
  assert.equal(tracker.state, 'saving');
});

test('an answer from before the connection broke is not believed', async () => {
  online();
  write();
  store();
  let give;
  answer = () => new Promise((resolve) => (give = resolve));
  await pass(150);
  tracker.connection('offline');
  tracker.connection('connected');
  give(Y.snapshot(disk));
  await pass(0);
  assert.equal(tracker.state, 'saving');
});

test('is silent after close', async () => {
  online();
  write();
  tracker.close();
  store();
  await pass(10_000);
  assert.equal(asked, 0);
});
