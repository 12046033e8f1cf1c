// Proves that size is no trouble: updates of 6 MB, hundreds of rooms, hundreds of documents on one socket,
// and names and contents in any script.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo, hocuspocus, hocuspocusSocket, yWebsocket, yjsDialects } from '../lib/clients.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Random } from '../lib/random.mjs';
import { serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { marksOf, untilEqual } from '../lib/yjs.mjs';

const timeout = 180_000;
const LARGE = 6_000_000;
const MANY = 200;

for (const [dialect, make] of Object.entries(yjsDialects)) {
  test(`one transaction of 6 MB passes between ${dialect} clients`, { timeout }, async (t) => {
    const server = await serve(t);
    const [writer, reader] = [make(t, server, 'room'), make(t, server, 'room')];
    await until(() => writer.synced && reader.synced);
    const large = Buffer.from(new Random(1).bytes(LARGE / 2)).toString('hex');
    writer.doc.getText('text').insert(0, large);
    await until(() => reader.doc.getText('text').length === LARGE);
    const joiner = make(t, server, 'room');
    await until(() => joiner.synced);
    await untilEqual(writer, reader, joiner);
    assert.equal(joiner.doc.getText('text').toString(), large);
  });
}

test('one change of 6 MB passes between automerge-repo clients', { timeout }, async (t) => {
  const server = await serve(t);
  const [writer, reader] = [automergeRepo(t, server), automergeRepo(t, server)];
  await until(() => writer.connected && reader.connected);
  const written = writer.repo.create({ blob: new Uint8Array() });
  await untilServerHas(writer, written);
  const read = await reader.repo.find(written.url);
  const large = new Random(1).bytes(LARGE);
  written.change((doc) => {
    doc.blob = large;
  });
  await untilServerHas(writer, written);
  await until(() => read.doc().blob.length === LARGE);
  const joined = await automergeRepo(t, server).repo.find(written.url);
  assert.ok(Buffer.from(read.doc().blob).equals(large));
  assert.ok(Buffer.from(joined.doc().blob).equals(large));
});

test(`${MANY} rooms keep their contents apart (y-websocket)`, { timeout }, async (t) => {
  const server = await serve(t);
  const names = Array.from({ length: MANY }, (_, number) => `room ${number}`);
  const writers = names.map((name) => yWebsocket(t, server, name));
  const readers = names.map((name) => yWebsocket(t, server, name));
  await until(() => [...writers, ...readers].every((client) => client.synced));
  for (const [index, { doc }] of writers.entries()) marksOf(doc).push([names[index]]);
  for (const [index, { doc }] of readers.entries()) {
    await until(() => marksOf(doc).length > 0);
    assert.deepEqual(marksOf(doc).toArray(), [names[index]]);
  }
});

test(`${MANY} hocuspocus documents share one socket and come back after a cut`, { timeout }, async (t) => {
  const server = await serve(t);
  const link = await proxy(t, server);
  const names = Array.from({ length: MANY }, (_, number) => `document ${number}`);
  const attach = (websocketProvider) => names.map((name) => hocuspocus(t, server, name, { websocketProvider }));
  const writers = attach(hocuspocusSocket(t, link));
  const saved = ({ provider }) => provider.synced && provider.unsyncedChanges === 0;
  await until(() => writers.every(saved));
  for (const [index, { doc }] of writers.entries()) marksOf(doc).push([names[index]]);
  await until(() => writers.every(saved));

  link.cut();
  await until(() => writers.every((client) => !client.synced));
  await until(() => writers.every(saved));
  assert.equal(link.cuts, 1);

  const readers = attach(hocuspocusSocket(t, server));
  await until(() => readers.every((client) => client.synced));
  for (const [index, { doc }] of readers.entries()) assert.deepEqual(marksOf(doc).toArray(), [names[index]]);
});

const NAMES = [
  'emoji 👩‍👩‍👧‍👦',
  'עברית/العربية',
  'composed é',
  'combining e\u0301',
  '日本語 & more',
  'a+b=c;d',
  'x'.repeat(500),
];

for (const [writing, makeWriter] of Object.entries(yjsDialects)) {
  for (const [reading, makeReader] of Object.entries(yjsDialects)) {
    test(`any script is fine in names and contents, ${writing} to ${reading}`, { timeout }, async (t) => {
      const server = await serve(t);
      const writers = NAMES.map((name) => makeWriter(t, server, name));
      const readers = NAMES.map((name) => makeReader(t, server, name));
      await until(() => [...writers, ...readers].every((client) => client.synced));
      for (const [index, { doc }] of writers.entries()) {
        marksOf(doc).push([NAMES[index]]);
        doc.getMap('map').set(NAMES[index], NAMES[index]);
        doc.getText('text').insert(0, NAMES.join(''));
      }
      for (const [index, reader] of readers.entries()) {
        await untilEqual(writers[index], reader);
        assert.deepEqual(marksOf(reader.doc).toArray(), [NAMES[index]], 'no two names are one room');
      }
    });
  }
}
