// Proves that `--drop-in` takes the place of another server: stock clients with that server's own URLs, root path
// and all, meet the clients of the main port.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo, hocuspocus, yWebsocket } from '../lib/clients.mjs';
import { serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { untilEqual } from '../lib/yjs.mjs';

const timeout = 120_000;

test('clients of the usual ports meet those of the main one', { timeout, skip: !!process.env.TOMBOLO_CLUSTER && 'it is of one server' }, async (t) => {
  const server = await serve(t, '--drop-in', 'yjs:0', '--drop-in', 'hocuspocus:0', '--drop-in', 'automerge:0');
  const clients = [
    yWebsocket(t, server.dropIns.yjs, 'a room'),
    yWebsocket(t, server, 'a room'),
    hocuspocus(t, server.dropIns.hocuspocus, 'a room'),
    hocuspocus(t, server, 'a room'),
  ];
  await until(() => clients.every((client) => client.synced));
  for (const [number, { doc }] of clients.entries()) doc.getText('text').insert(0, `from ${number}\n`);
  await untilEqual(...clients);
  assert.equal(clients[0].doc.getText('text').length, 4 * 'from 0\n'.length);

  const there = automergeRepo(t, server.dropIns.automerge);
  const here = automergeRepo(t, server);
  const written = there.repo.create({ text: 'from there' });
  await until(() => there.connected && here.connected);
  await untilServerHas(there, written);
  const read = await here.repo.find(written.url);
  assert.equal(read.doc().text, 'from there');
});
