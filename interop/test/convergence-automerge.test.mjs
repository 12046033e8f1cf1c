// Proves that automerge-repo clients end with equal documents and heads although their connections are cut
// again and again at random, and that no edit is lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EMPTY, scribble, untilEqual, untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo } from '../lib/clients.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Random } from '../lib/random.mjs';
import { serve } from '../lib/server.mjs';
import { pause, until } from '../lib/wait.mjs';

const EDITS = 150;

for (const count of [2, 3]) {
  for (const seed of [1, 2]) {
    test(
      `${count} automerge-repo clients converge through random cuts, seed ${seed}`,
      { timeout: 120_000 },
      async (t) => {
        const random = new Random(seed);
        const server = await serve(t);
        const links = await Promise.all(Array.from({ length: count }, () => proxy(t, server)));
        const clients = links.map((link) => automergeRepo(t, link));
        await until(() => clients.every((client) => client.connected));
        const first = clients[0].repo.create(EMPTY);
        await untilServerHas(clients[0], first);
        const others = await Promise.all(clients.slice(1).map(({ repo }) => repo.find(first.url)));
        const handles = [first, ...others];

        for (let edit = 0; edit < EDITS; edit += 1) {
          const handle = random.pick(handles);
          scribble(handle, random);
          handle.change((doc) => doc.marks.push(edit));
          if (random.chance(0.03)) random.pick(links).cut();
          if (random.chance(0.03)) random.pick(links).cutAfter(1 + random.below(2000));
          if (random.chance(0.7)) await pause(random.below(40));
        }

        await untilEqual(...handles);
        const { marks } = first.doc();
        assert.deepEqual(
          marks.toSorted((a, b) => a - b),
          [...Array(EDITS).keys()],
        );
        assert.ok(
          links.some((link) => link.cuts > 0),
          'connections were cut',
        );
        const joiner = await automergeRepo(t, server).repo.find(first.url);
        await untilEqual(first, joiner);
      },
    );
  }
}
