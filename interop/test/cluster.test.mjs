// Proves that three relays on NATS and one archive behave as one server: clients of all dialects, spread over the
// relays, converge; an acknowledgement means that the archive has it; and relay, archive or NATS may be killed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as Y from 'yjs';

import { EMPTY, scribble as scribbleAutomerge, untilEqual as untilHandlesEqual } from '../lib/automerge.mjs';
import { automergeRepo, hocuspocus, yWebsocket, yjsDialects } from '../lib/clients.mjs';
import { archiveOf, cluster } from '../lib/cluster.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Random } from '../lib/random.mjs';
import { relay } from '../lib/server.mjs';
import { pause, until } from '../lib/wait.mjs';
import { marksOf, removalOf, scribble, stateOf, untilEqual } from '../lib/yjs.mjs';

const timeout = 120_000;
const EDITS = 100;

/** A client of each Yjs dialect on each relay. */
function everywhere(t, all, room) {
  return all.relays.flatMap((at) => Object.values(yjsDialects).map((make) => make(t, at, room)));
}

test('clients on all relays converge, and the archive has what they wrote', { timeout }, async (t) => {
  const all = await cluster(t, { archive: true });
  const random = new Random(1);
  const clients = everywhere(t, all, 'room');
  await until(() => clients.every((client) => client.synced));
  for (let edit = 0; edit < EDITS; edit += 1) scribble(random.pick(clients).doc, random);
  await untilEqual(...clients);
  await until(() => clients.every(({ provider }) => (provider.unsyncedChanges ?? 0) === 0));
  const written = stateOf(clients[0].doc);

  // At the archive itself, where none of them ever was.
  const reader = yWebsocket(t, all.archive, 'room');
  await until(() => reader.synced);
  assert.deepEqual(stateOf(reader.doc), written);
});

test('a joiner on another relay gets the document once', { timeout }, async (t) => {
  for (const archive of [false, true]) {
    const all = await cluster(t, { archive });
    const writer = yWebsocket(t, all.relays[0], 'room');
    await until(() => writer.synced);
    writer.doc.getText('text').insert(0, 'lorem ipsum '.repeat(20_000));
    const bystander = await proxy(t, all.relays[1]);
    const other = hocuspocus(t, bystander, 'room');
    await until(() => other.doc.getText('text').length === 240_000);
    const before = bystander.toClient;

    const way = await proxy(t, all.relays[2]);
    const joiner = yWebsocket(t, way, 'room');
    await until(() => joiner.synced);
    assert.deepEqual(stateOf(joiner.doc), stateOf(writer.doc), 'complete at the moment of being synced');
    await pause(500);
    assert.ok(way.toClient < 1.5 * 240_000, `${way.toClient} bytes`);
    assert.ok(bystander.toClient - before < 20_000, `${bystander.toClient - before} bytes to a bystander`);
  }
});

test('presence is seen on all relays, and a killed relay takes its ghosts with it', { timeout }, async (t) => {
  const all = await cluster(t, { archive: true });
  const [doomed, ...others] = all.relays.map((at) => yWebsocket(t, at, 'room'));
  const { clientID } = doomed.doc;
  doomed.awareness.setLocalStateField('name', 'doomed');
  const sees = (other) => other.awareness.getStates().get(clientID)?.name === 'doomed';
  await until(() => others.every(sees));
  const gone = Promise.all(others.map((other) => removalOf(clientID, other.awareness)));
  await all.relays[0].kill9();
  doomed.destroy();
  for (const origin of await gone) assert.notEqual(origin, 'timeout', 'they did not have to find out by themselves');
});

test('a relay is killed under load and an empty one comes in its place', { timeout }, async (t) => {
  const all = await cluster(t, { archive: true });
  const random = new Random(2);
  const clients = everywhere(t, all, 'room');
  await until(() => clients.every((client) => client.synced));
  for (let round = 0; round < 3; round += 1) {
    const victim = all.relays[round];
    for (let edit = 0; edit < EDITS; edit += 1) {
      marksOf(random.pick(clients).doc).push([`${round}/${edit}`]);
      if (edit === EDITS / 3) await victim.kill9();
      if (edit === (2 * EDITS) / 3) await victim.restart();
      if (random.chance(0.3)) await pause(1);
    }
  }
  await untilEqual(...clients);
  const marks = marksOf(clients[0].doc).toArray();
  assert.equal(marks.length, 3 * EDITS);
  assert.equal(new Set(marks).size, 3 * EDITS, 'each once');
  await until(() => clients.every(({ provider }) => (provider.unsyncedChanges ?? 0) === 0));
});

test('without the archive members go on and nothing is acknowledged; when it is back, all is', { timeout }, async (t) => {
  const all = await cluster(t, { archive: true });
  const clients = all.relays.map((at) => hocuspocus(t, at, 'room'));
  const reader = yWebsocket(t, all.relays[0], 'room');
  await until(() => clients.every(({ provider, synced }) => synced && provider.unsyncedChanges === 0));
  await all.archive.kill9();

  for (const [n, { doc }] of clients.entries()) marksOf(doc).push([`without an archive ${n}`]);
  await untilEqual(reader, ...clients);
  const newcomer = hocuspocus(t, all.relays[1], 'room');
  await until(() => newcomer.synced && marksOf(newcomer.doc).length === clients.length);
  await pause(1_000);
  for (const { provider } of clients) assert.ok(provider.unsyncedChanges > 0, 'nobody keeps it, and nobody says so');

  await all.archive.restart();
  await until(() => clients.every(({ provider }) => provider.unsyncedChanges === 0));
  // What it has acknowledged now is on its disk.
  for (const client of [reader, newcomer, ...clients]) client.destroy();
  await all.archive.kill9();
  await all.archive.restart();
  const late = yWebsocket(t, all.archive, 'room');
  await until(() => late.synced);
  assert.equal(marksOf(late.doc).length, clients.length);
});

test('while NATS is away members of one relay go on, /readyz says so, and then all converge', { timeout }, async (t) => {
  const all = await cluster(t, { archive: true });
  const [here, there] = all.relays;
  const [a, b] = [yWebsocket(t, here, 'room'), hocuspocus(t, here, 'room')];
  const c = hocuspocus(t, there, 'room');
  await until(() => [a, b, c].every((client) => client.synced));
  await all.bus.kill9();
  const ready = (server) => fetch(`http://${server.host}/readyz`);
  await until(async () => (await ready(there)).status === 503);
  assert.match(await (await ready(there)).text(), /NATS/);

  marksOf(a.doc).push(['here']);
  await until(() => marksOf(b.doc).length === 1);
  marksOf(c.doc).push(['there']);
  assert.equal(marksOf(c.doc).length, 1);

  await all.bus.start();
  await untilEqual(a, b, c);
  assert.equal(marksOf(a.doc).length, 2);
  for (const server of all.servers) await until(async () => (await ready(server)).ok);
  await until(() => [b, c].every(({ provider }) => provider.unsyncedChanges === 0));
});

test('automerge-repo clients on all relays converge, through kills of a relay and of the archive', { timeout }, async (t) => {
  for (const archive of [true, false]) {
    const all = await cluster(t, { archive });
    const random = new Random(3);
    const clients = all.relays.map((at) => automergeRepo(t, at));
    await until(() => clients.every((client) => client.connected));
    const first = clients[0].repo.create(structuredClone(EMPTY));
    const find = ({ repo }) => until(() => repo.find(first.url).catch(() => null)); // It may still be under way.
    const handles = [first, ...(await Promise.all(clients.slice(1).map(find)))];
    const write = () => {
      for (let edit = 0; edit < 30; edit += 1) scribbleAutomerge(random.pick(handles), random);
    };
    write();
    await untilHandlesEqual(...handles);
    for (const victim of archive ? [all.relays[1], all.archive] : [all.relays[1]]) {
      await victim.kill9();
      // Stock clients with several peers throw when they write while their socket is away (relay/DIALECTS.md).
      if (archive) write();
      await victim.restart();
      await until(() => clients.every((client) => client.connected));
      write();
      await untilHandlesEqual(...handles);
    }
  }
});

test('an archive joins a relay that is alone, and keeps what was there before it came', { timeout }, async (t) => {
  const lone = await relay(t);
  const writer = hocuspocus(t, lone, 'room');
  await until(() => writer.synced);
  writer.doc.getText('text').insert(0, 'before');
  await pause(300);
  assert.ok(writer.provider.unsyncedChanges > 0, 'nobody keeps it yet');
  const archive = await archiveOf(t, [lone]);
  await until(() => writer.provider.unsyncedChanges === 0);
  await archive.kill9();
  await archive.restart();
  const reader = yWebsocket(t, archive, 'room');
  await until(() => reader.synced);
  assert.equal(reader.doc.getText('text').toString(), 'before');
});

test('an archive goes on at another relay when its own is killed', { timeout }, async (t) => {
  const all = await cluster(t, { archive: true });
  const client = hocuspocus(t, all.relays[1], 'room');
  await until(() => client.synced && client.provider.unsyncedChanges === 0);
  for (const victim of [0, 1, 2]) {
    if (victim === 1) continue; // The client's own.
    await all.relays[victim].kill9();
    marksOf(client.doc).push([victim]);
    await until(() => client.provider.unsyncedChanges === 0);
    await all.relays[victim].restart();
  }
  const reader = new Y.Doc();
  const at = yWebsocket(t, all.archive, 'room', { doc: reader });
  await until(() => at.synced);
  assert.equal(marksOf(reader).length, 2);
});

test('what an application says with sendStateless is heard on all relays, and never by who says it', { timeout }, async (t) => {
  const all = await cluster(t, { archive: false });
  const heard = [[], [], []];
  const clients = all.relays.map((at, n) =>
    hocuspocus(t, at, 'room', { onStateless: ({ payload }) => heard[n].push(payload) }),
  );
  await until(() => clients.every((client) => client.synced));
  clients[0].provider.sendStateless('hello');
  await until(() => heard[1].length === 1 && heard[2].length === 1);
  await pause(100);
  assert.deepEqual(heard, [[], ['hello'], ['hello']]);
});
