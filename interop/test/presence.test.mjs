// Proves that presence tells who is there: joiners see everybody at once, a state set to null and a client
// that vanished without a goodbye disappear at once, and ephemeral messages arrive exactly once.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EMPTY, untilServerHas } from '../lib/automerge.mjs';
import { joinAutomerge } from '../lib/automerge-frames.mjs';
import { automergeRepo, yjsDialects } from '../lib/clients.mjs';
import { proxy } from '../lib/proxy.mjs';
import { serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { removalOf } from '../lib/yjs.mjs';

const timeout = 120_000;
const COUNT = 20;

for (const [dialect, make] of Object.entries(yjsDialects)) {
  for (const [otherDialect, makeOther] of Object.entries(yjsDialects)) {
    const who = `a ${otherDialect} client`;

    test(`a ${dialect} client's state, changes and invisibility reach ${who}`, { timeout }, async (t) => {
      const server = await serve(t);
      const client = make(t, server, 'room');
      const other = makeOther(t, server, 'room');
      const seen = () => other.awareness.getStates().get(client.doc.clientID);

      client.awareness.setLocalState({ name: 'Zoë 👩‍👧', cursor: 1 });
      await until(() => seen()?.name === 'Zoë 👩‍👧');
      client.awareness.setLocalStateField('cursor', 2);
      await until(() => seen()?.cursor === 2);
      client.awareness.setLocalState(null);
      await until(() => seen() === undefined);
      client.awareness.setLocalState({ name: 'back' });
      await until(() => seen()?.name === 'back');
    });

    test(`a ${dialect} client that vanishes without a goodbye leaves no ghost for ${who}`, { timeout }, async (t) => {
      const server = await serve(t);
      const link = await proxy(t, server);
      const client = make(t, link, 'room');
      const other = makeOther(t, server, 'room');
      client.awareness.setLocalState({ name: 'soon gone' });
      await until(() => other.awareness.getStates().has(client.doc.clientID));

      const removal = removalOf(client.doc.clientID, other.awareness);
      link.vanish();

      assert.notEqual(await removal, 'timeout', 'the server said goodbye, not the clock of the other client');
    });

    test(`a ${dialect} client sees the cursors of ${who} at once`, { timeout }, async (t) => {
      const server = await serve(t);
      const other = makeOther(t, server, 'room');
      await until(() => other.synced);
      other.awareness.setLocalState({ cursor: 7 });
      const { clock } = other.awareness.meta.get(other.doc.clientID);

      const joiner = make(t, server, 'room');
      const seen = await until(() => joiner.awareness.meta.get(other.doc.clientID));

      assert.deepEqual(joiner.awareness.getStates().get(other.doc.clientID), { cursor: 7 });
      assert.equal(seen.clock, clock, 'without waiting until the other client renews its state');
    });
  }

  test(`a ${dialect} client is seen again when it comes back after a cut`, { timeout }, async (t) => {
    const server = await serve(t);
    const link = await proxy(t, server);
    const client = make(t, link, 'room');
    const other = make(t, server, 'room');
    client.awareness.setLocalState({ round: 1 });
    const seen = () => other.awareness.getStates().get(client.doc.clientID);
    await until(() => seen()?.round === 1);
    link.cut();
    await until(() => seen() === undefined);
    await until(() => client.synced);
    client.awareness.setLocalState({ round: 2 });
    await until(() => seen()?.round === 2);
  });
}

test('automerge-repo ephemeral messages reach everybody else exactly once', { timeout }, async (t) => {
  const server = await serve(t);
  const clients = [automergeRepo(t, server), automergeRepo(t, server), automergeRepo(t, server)];
  await until(() => clients.every((client) => client.connected));
  const first = clients[0].repo.create(EMPTY);
  await untilServerHas(clients[0], first);
  const others = await Promise.all(clients.slice(1).map(({ repo }) => repo.find(first.url)));
  const handles = [first, ...others];
  // Repos drop doubles by themselves, so a bare connection counts what is on the wire.
  const wire = await joinAutomerge(t, server, 'observer');
  wire.request(first.documentId);
  await until(() => wire.received('sync').length > 0);
  const heard = handles.map((handle) => {
    const messages = [];
    handle.on('ephemeral-message', ({ message }) => messages.push(message));
    return messages;
  });

  for (const [author, handle] of handles.entries()) {
    for (let number = 0; number < COUNT; number += 1) handle.broadcast({ author, number });
  }
  await until(() => heard.every((messages) => messages.length >= 2 * COUNT));
  await until(() => wire.received('ephemeral').length >= 3 * COUNT);
  for (const handle of handles) handle.broadcast('end');
  await until(() => heard.every((messages) => messages.filter((message) => message === 'end').length === 2));
  await until(() => wire.received('ephemeral').length >= 3 * COUNT + 3);

  const numbers = [...Array(COUNT).keys()];
  for (const [reader, messages] of heard.entries()) {
    for (const author of handles.keys()) {
      const from = messages.filter((message) => message.author === author).map(({ number }) => number);
      assert.deepEqual(from, author === reader ? [] : numbers);
    }
  }
  assert.equal(wire.received('ephemeral').length, 3 * COUNT + 3);
});
