// Proves that `tombolo relay`, which keeps nothing, is enough for Yjs clients that are there together: they
// converge, joiners get the document once, nobody is told "saved" in vain, and a new relay may take over.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as Y from 'yjs';

import { hocuspocus, yWebsocket, yjsDialects } from '../lib/clients.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Random } from '../lib/random.mjs';
import { relay } from '../lib/server.mjs';
import { pause, until } from '../lib/wait.mjs';
import { marksOf, removalOf, scribble, untilEqual } from '../lib/yjs.mjs';

const timeout = 120_000;
/** How often a relay is killed under load; the long mode is 100. */
const KILLS = Number(process.env.TOMBOLO_TEST_KILLS ?? 10);

const pairs = {
  'two y-websocket clients': [yWebsocket, yWebsocket],
  'two hocuspocus clients': [hocuspocus, hocuspocus],
  'one client of each dialect': [yWebsocket, hocuspocus],
};

for (const [who, [makeOne, makeOther]] of Object.entries(pairs)) {
  test(`${who} converge over a relay`, { timeout }, async (t) => {
    const server = await relay(t);
    const random = new Random(1);
    const clients = [makeOne(t, server, 'room'), makeOther(t, server, 'room')];
    await until(() => clients.every((client) => client.synced));
    for (let edit = 0; edit < 300; edit += 1) scribble(random.pick(clients).doc, random);
    await untilEqual(...clients);
  });

  test(`${who} converge after the relay was killed and replaced by an empty one`, { timeout }, async (t) => {
    const server = await relay(t);
    const random = new Random(2);
    const clients = [makeOne(t, server, 'room'), makeOther(t, server, 'room')];
    await until(() => clients.every((client) => client.synced));
    for (let round = 0; round < 3; round += 1) {
      for (let edit = 0; edit < 50; edit += 1) scribble(random.pick(clients).doc, random);
      await server.kill9();
      await until(() => clients.every((client) => !client.synced));
      for (const [author, { doc }] of clients.entries()) marksOf(doc).push([`${author} offline in round ${round}`]);
      await server.restart();
      await until(() => clients.every((client) => client.synced));
      await untilEqual(...clients);
    }
    assert.equal(new Set(marksOf(clients[0].doc).toArray()).size, 6);
  });
}

test(`clients of both dialects converge through ${KILLS} kills of a relay under load`, { timeout: 60_000 + KILLS * 5000 }, async (t) => {
  const server = await relay(t);
  const random = new Random(4);
  const clients = [yWebsocket, yWebsocket, hocuspocus, hocuspocus].map((make) => make(t, server, 'room'));
  await until(() => clients.every((client) => client.synced));
  let marks = 0;
  const typing = setInterval(() => {
    scribble(random.pick(clients).doc, random);
    marksOf(random.pick(clients).doc).push([(marks += 1)]);
  }, 5);
  for (let kill = 0; kill < KILLS; kill += 1) {
    await pause(random.below(300));
    await server.kill9();
    await server.restart();
    // Not always: some are killed again before anybody came back.
    if (random.below(2) === 0) await until(() => clients.every((client) => client.synced));
  }
  clearInterval(typing);
  await until(() => clients.every((client) => client.synced));
  await untilEqual(...clients);
  assert.deepEqual(
    marksOf(clients[0].doc).toArray().sort((one, other) => one - other),
    Array.from({ length: marks }, (_, number) => number + 1),
    'nothing is lost and nothing doubled',
  );
});

for (const [dialect, make] of Object.entries(yjsDialects)) {
  test(`a lone ${dialect} client on a relay becomes synced`, { timeout }, async (t) => {
    const server = await relay(t);
    const client = make(t, server, 'room');
    await until(() => client.synced);
  });

  test(`a ${dialect} joiner gets the document once and bystanders hardly notice`, { timeout }, async (t) => {
    const server = await relay(t);
    const random = new Random(3);
    const links = await Promise.all(Array.from({ length: 4 }, () => proxy(t, server)));
    const [author, ...bystanders] = links.slice(0, 3).map((link) => make(t, link, 'room'));
    await until(() => author.synced && bystanders.every((client) => client.synced));
    author.doc.getText('text').insert(0, Buffer.from(random.bytes(500_000)).toString('hex'));
    await untilEqual(author, ...bystanders);
    const size = Y.encodeStateAsUpdate(author.doc).length;
    const before = links.map((link) => link.toClient);

    const joiner = make(t, links[3], 'room');
    await until(() => joiner.synced);
    await untilEqual(author, joiner);
    // What is still on its way arrives before this edit does.
    marksOf(joiner.doc).push(['the joiner can write']);
    await untilEqual(joiner, author, ...bystanders);

    assert.ok(links[3].toClient < 3 * size, `the joiner received ${links[3].toClient} bytes for ${size}`);
    for (const [index, link] of links.slice(0, 3).entries()) {
      const received = link.toClient - before[index];
      assert.ok(received < size, `client ${index} received ${received} bytes because of the joiner`);
    }
  });

  test(`a ${dialect} client that vanishes from a relay leaves no ghost`, { timeout }, async (t) => {
    const server = await relay(t);
    const link = await proxy(t, server);
    const [client, other] = [make(t, link, 'room'), make(t, server, 'room')];
    client.awareness.setLocalState({ name: 'soon gone' });
    await until(() => other.awareness.getStates().has(client.doc.clientID));
    const removal = removalOf(client.doc.clientID, other.awareness);
    link.vanish();
    assert.notEqual(await removal, 'timeout', 'the relay said goodbye, not the clock of the other client');
  });
}

test('a relay that keeps nothing never tells hocuspocus clients "saved"', { timeout }, async (t) => {
  const server = await relay(t);
  const [writer, reader] = [hocuspocus(t, server, 'room'), hocuspocus(t, server, 'room')];
  let fewest = Infinity;
  writer.provider.on('unsyncedChanges', ({ number }) => {
    fewest = Math.min(fewest, number);
  });
  await until(() => writer.synced && reader.synced);
  for (let edit = 0; edit < 20; edit += 1) {
    marksOf(writer.doc).push([edit]);
    await untilEqual(writer, reader);
  }
  assert.ok(fewest > 0, 'unsyncedChanges was never 0');
});

test('with --ack forwarded, hocuspocus clients are told "saved" for what was forwarded', { timeout }, async (t) => {
  const server = await relay(t, '--ack', 'forwarded');
  const [writer, reader] = [hocuspocus(t, server, 'room'), hocuspocus(t, server, 'room')];
  await until(() => writer.synced && reader.synced);
  for (let edit = 0; edit < 20; edit += 1) marksOf(writer.doc).push([edit]);
  await until(() => writer.provider.unsyncedChanges === 0);
  await untilEqual(writer, reader);
});
