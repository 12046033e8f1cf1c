// Proves that Yjs clients of either dialect, alone or mixed in one room, end with equal documents although
// their connections are cut again and again at random, in the middle of frames too, and that no edit is lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hocuspocus, yWebsocket } from '../lib/clients.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Random } from '../lib/random.mjs';
import { serve } from '../lib/server.mjs';
import { pause, until } from '../lib/wait.mjs';
import { marksOf, scribble, untilEqual } from '../lib/yjs.mjs';

const EDITS = 250;

const rooms = {
  'two y-websocket clients': [yWebsocket, yWebsocket],
  'three y-websocket clients': [yWebsocket, yWebsocket, yWebsocket],
  'two hocuspocus clients': [hocuspocus, hocuspocus],
  'three hocuspocus clients': [hocuspocus, hocuspocus, hocuspocus],
  'one client of each dialect': [yWebsocket, hocuspocus],
  'two y-websocket clients and a hocuspocus client': [yWebsocket, hocuspocus, yWebsocket],
};

for (const [who, makers] of Object.entries(rooms)) {
  for (const seed of [1, 2]) {
    test(`${who} converge through random cuts, seed ${seed}`, { timeout: 120_000 }, async (t) => {
      const random = new Random(seed);
      const server = await serve(t);
      const links = await Promise.all(makers.map(() => proxy(t, server)));
      const clients = makers.map((make, index) => make(t, links[index], 'room'));
      await until(() => clients.every((client) => client.synced));

      for (let edit = 0; edit < EDITS; edit += 1) {
        const author = random.below(clients.length);
        scribble(clients[author].doc, random);
        marksOf(clients[author].doc).push([edit]);
        if (random.chance(0.03)) links[random.below(links.length)].cut();
        if (random.chance(0.03)) links[random.below(links.length)].cutAfter(1 + random.below(2000));
        if (random.chance(0.5)) await pause(random.below(20));
      }

      await untilEqual(...clients);
      const marks = marksOf(clients[0].doc).toArray();
      assert.deepEqual(
        marks.toSorted((a, b) => a - b),
        [...Array(EDITS).keys()],
      );
      assert.ok(
        links.some((link) => link.cuts > 0),
        'connections were cut',
      );
      const joiner = makers[0](t, server, 'room');
      await untilEqual(clients[0], joiner);
    });
  }
}
