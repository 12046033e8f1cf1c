// Proves that a replica and stock clients see each other in a document: the Rust example `visitors`, a y-websocket tab and
// a Hocuspocus app, through a node or through relays. Goodbyes arrive at once, also those that nobody said.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { yjsDialects } from '../lib/clients.mjs';
import { relay, serve } from '../lib/server.mjs';
import { Visitor } from '../lib/visitor.mjs';
import { until } from '../lib/wait.mjs';
import { removalOf } from '../lib/yjs.mjs';

const timeout = 120_000;

for (const [where, start] of Object.entries({ node: serve, relay })) {
  for (const [dialect, make] of Object.entries(yjsDialects)) {
    const who = `a replica and a ${dialect} client of a ${where}`;

    test(`${who} see each other come, move and go`, { timeout }, async (t) => {
      const server = await start(t);
      const client = make(t, server, 'room');
      await until(() => client.synced);
      client.awareness.setLocalState({ name: 'Zoë 👩‍👧', cursor: 1 });
      const visitor = await Visitor.start(t, server, 'room');
      const seen = () => client.awareness.getStates().get(visitor.id);
      // Who comes is told who is there, and is seen once it shows itself.
      await until(() => visitor.others[client.doc.clientID]?.name === 'Zoë 👩‍👧');
      assert.equal(seen(), undefined);
      visitor.show('Anna');
      await until(() => seen()?.name === 'Anna');
      visitor.show('Anne');
      await until(() => seen()?.name === 'Anne');
      client.awareness.setLocalStateField('cursor', 2);
      await until(() => visitor.others[client.doc.clientID]?.cursor === 2);
      // Hidden, and back.
      visitor.show('');
      await until(() => seen() === undefined);
      client.awareness.setLocalState(null);
      await until(() => visitor.others[client.doc.clientID] === undefined);
      visitor.show('Anna');
      client.awareness.setLocalState({ name: 'back' });
      await until(() => seen()?.name === 'Anna');
      await until(() => visitor.others[client.doc.clientID]?.name === 'back');
    });

    for (const end of ['leave', 'kill9']) {
      test(`${who}: after ${end} no ghost of the replica is left`, { timeout }, async (t) => {
        const server = await start(t);
        const client = make(t, server, 'room');
        const visitor = await Visitor.start(t, server, 'room');
        visitor.show('soon gone');
        await until(() => client.awareness.getStates().has(visitor.id));
        const removal = removalOf(visitor.id, client.awareness);
        await visitor[end]();
        assert.notEqual(await removal, 'timeout', 'somebody said goodbye, not the clock of the client');
      });
    }

    test(`${who}: a client that goes leaves no ghost at the replica`, { timeout }, async (t) => {
      const server = await start(t);
      const client = make(t, server, 'room');
      client.awareness.setLocalState({ name: 'soon gone' });
      const visitor = await Visitor.start(t, server, 'room');
      await until(() => visitor.others[client.doc.clientID]);
      const before = Date.now();
      await client.destroy();
      await until(() => !visitor.others[client.doc.clientID]);
      assert.ok(Date.now() - before < 25_000, 'nobody waited until it was silent for long');
    });
  }
}
