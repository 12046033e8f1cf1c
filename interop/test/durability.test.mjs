// Proves that an acknowledged edit survives SIGKILL at any moment, and comes exactly once. What counts as
// acknowledged is what each dialect's client can know: Hocuspocus counts SyncStatus in `unsyncedChanges`,
// automerge-repo sees the server's heads, and for y-websocket the server tells over HTTP what is durable.
//
// The writer is destroyed before the restart, so that it cannot send again what the server lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as Y from 'yjs';

import { EMPTY, untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo, hocuspocus, yWebsocket, yjsDialects } from '../lib/clients.mjs';
import { Random } from '../lib/random.mjs';
import { serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { marksOf, untilEqual } from '../lib/yjs.mjs';

const timeout = 120_000;
const ROUNDS = 6;

test('what hocuspocus counts as saved survives kill -9', { timeout }, async (t) => {
  const random = new Random(1);
  const server = await serve(t);
  const saved = new Set();
  for (let round = 0; round < ROUNDS; round += 1) {
    const writer = hocuspocus(t, server, 'room');
    await until(() => writer.provider.unsyncedChanges === 0 && writer.synced);
    const sent = [];
    let acknowledged = 0;
    writer.provider.on('unsyncedChanges', ({ number }) => {
      for (; acknowledged < sent.length - number; acknowledged += 1) saved.add(sent[acknowledged]);
    });
    const write = () => {
      sent.push(`${round}/${sent.length}`);
      marksOf(writer.doc).push([sent.at(-1)]);
    };

    await writeUntil(write, () => acknowledged >= 20 + random.below(100), random);
    await server.kill9();
    await writer.destroy();

    await server.restart();
    const reader = hocuspocus(t, server, 'room');
    await until(() => reader.synced);
    assertKept(saved, marksOf(reader.doc).toArray());
    await reader.destroy();
  }
});

test('what the server calls durable survives kill -9 for y-websocket, deletions included', { timeout }, async (t) => {
  const random = new Random(2);
  const server = await serve(t);
  const durable = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const writer = yWebsocket(t, server, 'room');
    await until(() => writer.synced);
    let count = 0;
    const write = () => {
      const marks = marksOf(writer.doc);
      if (marks.length > 20 && random.chance(0.2)) marks.delete(random.below(marks.length));
      else marks.push([`${round}/${count++}`]);
    };
    const polls = 5 + random.below(10);
    let answered = 0;
    const isDone = async () => {
      durable.push(await durableSnapshot(server, 'room'));
      answered += 1;
      return answered >= polls && knows(durable.at(-1), writer.doc.clientID);
    };

    await writeUntil(write, isDone, random);
    await server.kill9();
    await writer.destroy();

    await server.restart();
    const reader = yWebsocket(t, server, 'room');
    await until(() => reader.synced);
    const kept = Y.snapshot(reader.doc);
    for (const snapshot of durable) assertCovers(kept, snapshot);
    assertNoDoubles(marksOf(reader.doc).toArray());
    await reader.destroy();
  }
});

test('what automerge-repo saw in the heads of the server survives kill -9', { timeout }, async (t) => {
  const random = new Random(3);
  const server = await serve(t);
  const author = automergeRepo(t, server);
  await until(() => author.connected);
  const created = author.repo.create(EMPTY);
  await untilServerHas(author, created);
  await author.destroy();
  const saved = new Set();
  for (let round = 0; round < ROUNDS; round += 1) {
    const writer = automergeRepo(t, server);
    await until(() => writer.connected);
    const handle = await writer.repo.find(created.url);
    const countAt = new Map();
    const sent = [];
    let acknowledged = 0;
    handle.on('remote-heads', ({ heads }) => {
      const count = countAt.get(heads.join()) ?? 0;
      for (; acknowledged < count; acknowledged += 1) saved.add(sent[acknowledged]);
    });
    const write = () => {
      sent.push(`${round}/${sent.length}`);
      handle.change((doc) => doc.marks.push(sent.at(-1)));
      countAt.set(handle.heads().join(), sent.length);
    };

    await writeUntil(write, () => acknowledged >= 20 + random.below(100), random);
    await server.kill9();
    await writer.destroy();

    await server.restart();
    const reader = automergeRepo(t, server);
    await until(() => reader.connected);
    const read = await reader.repo.find(created.url);
    assertKept(saved, read.doc().marks);
    await reader.destroy();
  }
});

for (const [dialect, make] of Object.entries(yjsDialects)) {
  test(`a ${dialect} client that edits on through kill -9 loses and doubles nothing`, { timeout }, async (t) => {
    const random = new Random(4);
    const server = await serve(t);
    const writer = make(t, server, 'room');
    await until(() => writer.synced);
    let count = 0;
    const write = () => marksOf(writer.doc).push([count++]);
    for (let round = 0; round < ROUNDS; round += 1) {
      const enough = count + 50 + random.below(100);
      await writeUntil(write, () => count >= enough, random);
      await server.kill9();
      await until(() => !writer.synced);
      write();
      await server.restart();
      await until(() => writer.synced);
    }
    const reader = make(t, server, 'room');
    await untilEqual(writer, reader);
    assert.deepEqual(marksOf(reader.doc).toArray(), [...Array(count).keys()]);
  });
}

test('an automerge-repo client that edits on through kill -9 loses and doubles nothing', { timeout }, async (t) => {
  const random = new Random(5);
  const server = await serve(t);
  const writer = automergeRepo(t, server);
  await until(() => writer.connected);
  const handle = writer.repo.create(EMPTY);
  let count = 0;
  const write = () => handle.change((doc) => doc.marks.push(count++));
  for (let round = 0; round < ROUNDS; round += 1) {
    const enough = count + 50 + random.below(100);
    await writeUntil(write, () => count >= enough, random);
    await server.kill9();
    await until(() => !writer.connected);
    write();
    await server.restart();
    await until(() => writer.connected);
  }
  await untilServerHas(writer, handle);
  const read = await automergeRepo(t, server).repo.find(handle.url);
  assert.deepEqual(read.doc().marks, [...Array(count).keys()]);
});

/** Writes in bursts until `isDone`, then one burst more that nobody waits for. */
async function writeUntil(write, isDone, random) {
  const burst = () => {
    for (let left = 1 + random.below(8); left > 0; left -= 1) write();
  };
  await until(() => {
    burst();
    return isDone();
  });
  burst();
}

function assertKept(saved, marks) {
  const kept = new Set(marks);
  const lost = [...saved].filter((mark) => !kept.has(mark));
  assert.deepEqual(lost, [], `${lost.length} of ${saved.size} acknowledged edits are lost`);
  assertNoDoubles(marks);
}

function assertNoDoubles(marks) {
  assert.equal(new Set(marks).size, marks.length, 'no edit comes twice');
}

async function durableSnapshot(server, name) {
  const { snapshot } = JSON.parse(await server.get(`/api/documents/${encodeURIComponent(name)}/durable`));
  return Y.decodeSnapshot(Buffer.from(snapshot, 'base64'));
}

function knows(snapshot, clientId) {
  return snapshot.sv.has(clientId);
}

/** Every insertion and deletion in `part` is in `whole`. */
function assertCovers(whole, part) {
  for (const [client, clock] of part.sv) {
    assert.ok((whole.sv.get(client) ?? 0) >= clock, `client ${client}: ${whole.sv.get(client)} of ${clock} kept`);
  }
  for (const [client, ranges] of part.ds.clients) {
    for (const { clock, len } of ranges) {
      for (let at = clock; at < clock + len; at += 1) {
        assert.ok(Y.isDeleted(whole.ds, Y.createID(client, at)), `${client}/${at} is deleted no more`);
      }
    }
  }
}
