// Proves the details that automerge-repo clients depend on: every request is answered, unknown versions are
// refused politely, documents go from one repo to another, and the server has a storage id that stays.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as Automerge from '@automerge/automerge';
import { generateAutomergeUrl, parseAutomergeUrl } from '@automerge/automerge-repo';

import { emptySyncMessage, joinAutomerge, openAutomerge } from '../lib/automerge-frames.mjs';
import { EMPTY, untilEqual, untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo } from '../lib/clients.mjs';
import { serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';

const timeout = 120_000;
const UNKNOWN = 20;

test('each request for an unknown document is answered', { timeout }, async (t) => {
  const server = await serve(t);
  const raw = await joinAutomerge(t, server, 'asker');
  const ids = Array.from({ length: UNKNOWN }, () => parseAutomergeUrl(generateAutomergeUrl()).documentId);
  for (const id of ids) raw.request(id);
  for (const id of ids) {
    await until(() => raw.received('doc-unavailable').some(({ documentId }) => documentId === id));
  }
  for (const message of [...raw.received('doc-unavailable'), ...raw.received('sync')]) {
    assert.equal(message.senderId, raw.serverId);
    assert.equal(message.targetId, 'asker');
  }
});

test('finding unknown documents ends as unavailable, every time', { timeout }, async (t) => {
  const server = await serve(t);
  const { repo } = automergeRepo(t, server);
  const searches = Array.from({ length: UNKNOWN }, () => repo.find(generateAutomergeUrl()));
  for (const search of await Promise.allSettled(searches)) {
    assert.equal(search.status, 'rejected');
    assert.match(search.reason.message, /unavailable/);
  }
});

test('a request for a known document is answered with it', { timeout }, async (t) => {
  const server = await serve(t);
  const author = automergeRepo(t, server);
  await until(() => author.connected);
  const handle = author.repo.create({ title: 'known' });
  await untilServerHas(author, handle);
  const raw = await joinAutomerge(t, server, 'asker');
  let [doc, state] = [Automerge.init(), Automerge.initSyncState()];
  raw.request(handle.documentId);
  let read = 0;
  await until(() => {
    for (const { data } of raw.received('sync').slice(read)) {
      read += 1;
      [doc, state] = Automerge.receiveSyncMessage(doc, state, data);
      const [next, message] = Automerge.generateSyncMessage(doc, state);
      state = next;
      if (message) raw.send({ type: 'sync', targetId: raw.serverId, documentId: handle.documentId, data: message });
    }
    return doc.title === 'known';
  });
  assert.equal(raw.received('doc-unavailable').length, 0);
});

test('protocol version 2 alone is refused with an error message, 1 among others is taken', { timeout }, async (t) => {
  const server = await serve(t);
  const newer = await openAutomerge(t, server, 'newer');
  newer.join(['2']);
  await until(() => newer.socket.closed);
  assert.match(newer.received('error')[0].message, /version/);
  assert.equal(newer.received('peer').length, 0);

  const both = await openAutomerge(t, server, 'both');
  both.join(['2', '1']);
  await until(() => both.received('peer').length === 1);
  assert.equal(both.received('peer')[0].selectedProtocolVersion, '1');
});

test('documents that one repo made are found, changed and merged by others', { timeout }, async (t) => {
  const server = await serve(t);
  const clients = [automergeRepo(t, server), automergeRepo(t, server), automergeRepo(t, server)];
  await until(() => clients.every((client) => client.connected));
  const made = Array.from({ length: 20 }, (_, number) =>
    clients[0].repo.create({ ...EMPTY, text: `document ${number}` }),
  );
  for (const handle of made) await untilServerHas(clients[0], handle);
  for (const handle of made) {
    const found = await Promise.all(clients.slice(1).map(({ repo }) => repo.find(handle.url)));
    const all = [handle, ...found];
    for (const [author, mine] of all.entries()) mine.change((doc) => doc.marks.push(author));
    await untilEqual(...all);
    assert.deepEqual([...handle.doc().marks].sort(), [0, 1, 2]);
  }
});

test('the peer message names a storage that is the same after a restart', { timeout }, async (t) => {
  const server = await serve(t);
  const before = (await joinAutomerge(t, server, 'a')).received('peer')[0];
  await server.kill9();
  await server.restart();
  const after = (await joinAutomerge(t, server, 'a')).received('peer')[0];
  assert.match(before.peerMetadata.storageId, /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
  assert.equal(after.peerMetadata.storageId, before.peerMetadata.storageId);
  assert.equal(after.peerMetadata.isEphemeral, false);
  assert.equal(after.targetId, 'a');
});

test('a client that comes back under its own peer id replaces its old connection', { timeout }, async (t) => {
  const server = await serve(t);
  const author = automergeRepo(t, server);
  await until(() => author.connected);
  const handle = author.repo.create(EMPTY);
  await untilServerHas(author, handle);

  const half = await joinAutomerge(t, server, 'returning');
  half.send({ type: 'request', targetId: half.serverId, documentId: handle.documentId, data: emptySyncMessage() });
  await until(() => half.received('sync').length > 0);
  const returning = automergeRepo(t, server, { peerId: 'returning' });
  const found = await returning.repo.find(handle.url);
  found.change((doc) => doc.marks.push('back'));
  await untilEqual(handle, found);
});
