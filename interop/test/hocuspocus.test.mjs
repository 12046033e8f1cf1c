// Proves the details that Hocuspocus providers depend on: one SyncStatus for each SyncStep2 and Update, a
// SyncStep1 for each joiner, tokens, session awareness, and documents that come and go on one socket.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as Y from 'yjs';

import { hocuspocus, hocuspocusSocket } from '../lib/clients.mjs';
import {
  AUTH,
  CLOSE,
  SYNC,
  SYNC_STATUS,
  SYNC_STEP_1,
  SYNC_STEP_2,
  UPDATE,
  auth,
  awareness,
  pack,
  parseHocuspocus,
  syncStep1,
  syncStep2,
  update,
} from '../lib/frames.mjs';
import { rawSocket } from '../lib/raw.mjs';
import { relay, serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { marksOf, untilEqual } from '../lib/yjs.mjs';

const timeout = 120_000;

test('each SyncStep2 and each Update gets exactly one SyncStatus, nothing else does', { timeout }, async (t) => {
  const server = await serve(t);
  const raw = await attach(t, server, 'room');
  const statuses = () => raw.count({ type: SYNC_STATUS, subtype: 1 });
  const answers = () => raw.count({ type: SYNC, subtype: SYNC_STEP_2 });

  raw.send(pack('room', ...syncStep1()));
  raw.send(pack('room', ...awareness(1, 1, '{"name":"raw"}')));
  await until(() => answers() === 1);
  assert.equal(statuses(), 0);

  const updates = updatesOf(20);
  raw.send(pack('room', ...syncStep2()));
  for (const bytes of updates) raw.send(pack('room', ...update(bytes)));
  await until(() => statuses() >= 21);
  for (const bytes of updates) raw.send(pack('room', ...update(bytes))); // Known already, and still to be acknowledged.
  raw.send(pack('room', ...syncStep2(Y.mergeUpdates(updates))));
  await until(() => statuses() >= 42);

  raw.send(pack('room', ...syncStep1()));
  await until(() => answers() === 2);
  await raw.settled();
  assert.equal(statuses(), 42);
  assert.equal(raw.count({ type: SYNC_STATUS }), 42, 'none says "refused"');
});

test(
  'each joiner gets "authenticated" and a SyncStep1, whether the document is new or known',
  { timeout },
  async (t) => {
    const server = await serve(t);
    for (let joiner = 0; joiner < 3; joiner += 1) {
      const raw = await attach(t, server, 'room');
      raw.send(pack('room', ...syncStep1()));
      await until(() => raw.count({ type: SYNC, subtype: SYNC_STEP_2 }) === 1);
      await until(() => raw.count({ type: SYNC, subtype: SYNC_STEP_1 }) >= 1);
      await raw.settled();
      // Relays also ask members for each other.
      if (!process.env.TOMBOLO_CLUSTER) assert.equal(raw.count({ type: SYNC, subtype: SYNC_STEP_1 }), 1);
      assert.deepEqual(raw.parsed()[0], { address: 'room', type: AUTH, subtype: 2 }, 'first of all');
      raw.send(pack('room', ...update(updatesOf(1)[0])));
      await until(() => raw.count({ type: SYNC_STATUS, subtype: 1 }) === 1);
    }
  },
);

test('frames that arrive before the token wait for it', { timeout }, async (t) => {
  const server = await serve(t);
  const raw = await openHocuspocus(t, server);
  const [edit] = updatesOf(1);
  raw.send(pack('room', ...syncStep1()));
  raw.send(pack('room', ...update(edit)));
  await raw.settled();
  assert.equal(raw.count({ type: SYNC }), 0, 'not before authentication');
  raw.send(auth('room'));
  await until(() => raw.count({ type: SYNC, subtype: SYNC_STEP_2 }) === 1);
  await until(() => raw.count({ type: SYNC, subtype: SYNC_STEP_1 }) === 1);
  raw.send(pack('room', ...syncStep2(edit)));
  await until(() => raw.count({ type: SYNC_STATUS, subtype: 1 }) === 2);
});

test('replies carry the address byte for byte, session included', { timeout }, async (t) => {
  const server = await serve(t);
  const raw = await openHocuspocus(t, server);
  const addresses = ['room\0session1', 'room\0session2', 'room'];
  for (const address of addresses) raw.send(auth(address));
  for (const address of addresses) raw.send(pack(address, ...syncStep1()));
  await until(() => addresses.every((address) => raw.count({ address, type: SYNC, subtype: SYNC_STEP_2 }) === 1));
  raw.send(pack(addresses[0], ...update(updatesOf(1)[0])));
  await until(() => raw.count({ address: addresses[0], type: SYNC_STATUS }) === 1);
  const others = addresses.slice(1);
  await until(() => others.every((address) => raw.count({ address, type: SYNC, subtype: UPDATE }) === 1));
});

test('tokens of every kind are accepted', { timeout }, async (t) => {
  const server = await serve(t);
  const tokens = [null, '', 'secret', 'geheim 🔑', 'x'.repeat(8000), () => 'called', async () => 'awaited'];
  for (const [index, token] of tokens.entries()) {
    const scopes = [];
    const client = hocuspocus(t, server, `room ${index}`, {
      token,
      onAuthenticated: ({ scope }) => scopes.push(scope),
    });
    await until(() => client.synced);
    assert.deepEqual(scopes, ['read-write']);
  }
});

test('two providers of one name share a socket with session awareness', { timeout }, async (t) => {
  const server = await serve(t);
  const websocketProvider = hocuspocusSocket(t, server);
  const options = { websocketProvider, sessionAwareness: true };
  const clients = [hocuspocus(t, server, 'room', options), hocuspocus(t, server, 'room', options)];
  const outsider = hocuspocus(t, server, 'room');
  const all = [...clients, outsider];
  await until(() => all.every((client) => client.synced));

  for (const [index, { doc }] of all.entries()) marksOf(doc).push([index]);
  await untilEqual(...all);
  await until(() => all.every(({ provider }) => provider.unsyncedChanges === 0));

  clients[0].awareness.setLocalState({ name: 'first' });
  await until(() => clients[1].awareness.getStates().get(clients[0].doc.clientID)?.name === 'first');
  await clients[0].destroy();
  await until(() => !outsider.awareness.getStates().has(clients[0].doc.clientID));
  marksOf(clients[1].doc).push(['still here']);
  await untilEqual(clients[1], outsider);
});

test('closing one document says goodbye there and leaves the others on the socket alone', { timeout }, async (t) => {
  const server = await serve(t);
  const websocketProvider = hocuspocusSocket(t, server);
  const [closing, staying] = ['one', 'two'].map((name) => hocuspocus(t, server, name, { websocketProvider }));
  const watchers = ['one', 'two'].map((name) => hocuspocus(t, server, name));
  await until(() => [closing, staying, ...watchers].every((client) => client.synced));
  closing.awareness.setLocalState({ name: 'closing' });
  await until(() => watchers[0].awareness.getStates().has(closing.doc.clientID));
  const disconnects = [];
  websocketProvider.on('disconnect', () => disconnects.push('disconnect'));

  await closing.destroy();
  await until(() => !watchers[0].awareness.getStates().has(closing.doc.clientID));
  marksOf(staying.doc).push(['works']);
  await untilEqual(staying, watchers[1]);

  const reopened = hocuspocus(t, server, 'one', { websocketProvider });
  await until(() => reopened.synced);
  marksOf(watchers[0].doc).push(['works again']);
  await untilEqual(reopened, watchers[0]);
  assert.deepEqual(disconnects, []);
});

test('a CLOSE is confirmed, and nothing more comes for that document', { timeout }, async (t) => {
  const server = await serve(t);
  const raw = await attach(t, server, 'room');
  raw.send(pack('room', CLOSE));
  await until(() => raw.count({ address: 'room', type: CLOSE }) === 1);
  const before = raw.parsed().length;

  const writer = hocuspocus(t, server, 'room');
  await until(() => writer.synced);
  marksOf(writer.doc).push([1]);
  await until(() => writer.provider.unsyncedChanges === 0);
  await raw.settled();
  assert.equal(
    raw
      .parsed()
      .slice(before)
      .filter(({ address }) => address === 'room').length,
    0,
  );
});

test('a blank document name is refused without closing the socket', { timeout }, async (t) => {
  const server = await serve(t);
  const raw = await openHocuspocus(t, server);
  raw.send(auth('  '));
  await until(() => raw.count({ address: '  ', type: AUTH, subtype: 1 }) === 1);
  raw.send(auth('room'));
  await until(() => raw.count({ address: 'room', type: AUTH, subtype: 2 }) === 1);
});

test('flushDelay batches are acknowledged one by one', { timeout }, async (t) => {
  const server = await serve(t);
  const [writer, reader] = [hocuspocus(t, server, 'room', { flushDelay: 20 }), hocuspocus(t, server, 'room')];
  await until(() => writer.synced && reader.synced);
  for (let batch = 0; batch < 5; batch += 1) {
    for (let edit = 0; edit < 10; edit += 1) marksOf(writer.doc).push([edit]);
    await until(() => writer.provider.unsyncedChanges === 0);
  }
  await untilEqual(writer, reader);
});

for (const [name, start] of Object.entries({ serve, relay })) {
  test(`${name}: what is said with sendStateless reaches all others on the document, in order`, { timeout }, async (t) => {
    const server = await start(t);
    const websocketProvider = hocuspocusSocket(t, server);
    const sessions = { websocketProvider, sessionAwareness: true };
    const clients = [
      hocuspocus(t, server, 'room', sessions),
      hocuspocus(t, server, 'room', sessions),
      hocuspocus(t, server, 'room'),
      hocuspocus(t, server, 'another room'),
    ];
    const heard = clients.map(({ provider }) => {
      const payloads = [];
      provider.on('stateless', ({ payload }) => payloads.push(payload));
      return payloads;
    });
    await until(() => clients.every((client) => client.synced));
    const [first, second, third] = clients.map(({ provider }) => provider);
    const payloads = ['', 'Zoë 👩‍👧', JSON.stringify({ action: 'refresh' }), 'x'.repeat(100_000)];
    for (const payload of payloads) first.sendStateless(payload);
    await until(() => heard[1].length === payloads.length && heard[2].length === payloads.length);
    third.sendStateless('back');
    await until(() => heard[0].length > 0 && heard[1].length > payloads.length);
    second.sendStateless('end');
    await until(() => heard[0].length > 1 && heard[2].length > payloads.length);
    assert.deepEqual(heard, [['back', 'end'], [...payloads, 'back'], [...payloads, 'end'], []]);
  });
}

/** A bare connection with its frames read. */
async function openHocuspocus(t, server) {
  const raw = await rawSocket(t, server, '/hocuspocus');
  const parsed = () => raw.frames.map(parseHocuspocus);
  const matches = (wanted) => (frame) => Object.entries(wanted).every(([key, value]) => frame[key] === value);
  return {
    parsed,
    count: (wanted) => parsed().filter(matches(wanted)).length,
    send: (frame) => raw.send(frame),
    settled: () => raw.settled(),
  };
}

async function attach(t, server, name) {
  const raw = await openHocuspocus(t, server);
  raw.send(auth(name));
  return raw;
}

/** The updates of `count` edits by one new author. */
function updatesOf(count) {
  const doc = new Y.Doc();
  const updates = [];
  doc.on('update', (bytes) => updates.push(bytes));
  for (let edit = 0; edit < count; edit += 1) marksOf(doc).push([edit]);
  return updates;
}
