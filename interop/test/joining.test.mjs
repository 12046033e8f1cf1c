// Proves that who joins gets everything: alone, late, or when everybody who wrote has left; that a lone
// client is told it is synced; and that one room has one content whichever Yjs dialect is spoken.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { generateAutomergeUrl } from '@automerge/automerge-repo';
import * as Y from 'yjs';

import { EMPTY, scribble as scribbleAutomerge, untilEqual, untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo, yWebsocket, yjsDialects } from '../lib/clients.mjs';
import { Random } from '../lib/random.mjs';
import { serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { scribble, stateOf } from '../lib/yjs.mjs';

const timeout = 120_000;
const EDITS = 200;

for (const [writing, makeWriter] of Object.entries(yjsDialects)) {
  for (const [reading, makeReader] of Object.entries(yjsDialects)) {
    test(`what ${writing} wrote is there for ${reading} after everybody left`, { timeout }, async (t) => {
      const server = await serve(t);
      const random = new Random(1);
      const writer = makeWriter(t, server, 'room');
      await until(() => writer.synced);
      for (let edit = 0; edit < EDITS; edit += 1) scribble(writer.doc, random);
      const written = stateOf(writer.doc);
      await writer.destroy();
      await until(async () => (await server.clients()) === 0);

      const reader = makeReader(t, server, 'room');
      await until(() => reader.synced);

      assert.deepEqual(stateOf(reader.doc), written, 'complete at the moment of being synced');
    });
  }
}

for (const [dialect, make] of Object.entries(yjsDialects)) {
  test(`a lone ${dialect} client of an empty document becomes synced`, { timeout }, async (t) => {
    const server = await serve(t);
    const client = make(t, server, 'nobody was here before');
    await until(() => client.synced);
    assert.equal(stateOf(client.doc).versionsAndDeletions, '0000');
  });

  test(`edits that a ${dialect} client made offline reach a client that was there before`, { timeout }, async (t) => {
    const server = await serve(t);
    const present = make(t, server, 'room');
    await until(() => present.synced);
    const returning = make(t, server, 'room', { doc: offlineDocument() });
    await until(() => returning.synced);
    await until(() => present.doc.getText('text').toString() === 'written offline');
  });
}

test('query parameters of y-websocket do not belong to the room', { timeout }, async (t) => {
  const server = await serve(t);
  const plain = yWebsocket(t, server, 'room');
  const withToken = yWebsocket(t, server, 'room', { params: { token: 'geheim 🔑', more: 'a/b?c' } });
  await until(() => plain.synced && withToken.synced);
  plain.doc.getText('text').insert(0, 'seen');
  await until(() => withToken.doc.getText('text').toString() === 'seen');
});

function offlineDocument() {
  const doc = new Y.Doc();
  doc.getText('text').insert(0, 'written offline');
  return doc;
}

test('what automerge-repo wrote is there after everybody left', { timeout }, async (t) => {
  const server = await serve(t);
  const random = new Random(1);
  const writer = automergeRepo(t, server);
  await until(() => writer.connected);
  const written = writer.repo.create(EMPTY);
  for (let edit = 0; edit < EDITS; edit += 1) scribbleAutomerge(written, random);
  await untilServerHas(writer, written);
  await writer.destroy();
  await until(async () => (await server.clients()) === 0);

  const reader = automergeRepo(t, server);
  const read = await reader.repo.find(written.url);

  await untilEqual(written, read);
});

test('a lone automerge-repo client is told at once that nobody has a document', { timeout }, async (t) => {
  const server = await serve(t);
  const client = automergeRepo(t, server);
  await until(() => client.connected);
  await assert.rejects(client.repo.find(generateAutomergeUrl()), /unavailable/);
});

test('a document that nobody had is found once somebody made it', { timeout }, async (t) => {
  const server = await serve(t);
  const [author, reader] = [automergeRepo(t, server), automergeRepo(t, server)];
  await until(() => author.connected && reader.connected);
  const handle = author.repo.create({ title: 'new' });
  await untilServerHas(author, handle);
  const found = await reader.repo.find(handle.url);
  assert.deepEqual(found.doc(), { title: 'new' });

  found.change((doc) => {
    doc.answer = 'from the reader';
  });
  await until(() => handle.doc().answer === 'from the reader');
});
