// Proves that clients which do nothing stay connected. Stock Yjs clients hang up after 30 s without a
// message, with WebSocket pings not counting as messages, so this test has to last longer than that.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EMPTY, untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo, hocuspocus, hocuspocusSocket, yWebsocket } from '../lib/clients.mjs';
import { relay, serve } from '../lib/server.mjs';
import { pause, until } from '../lib/wait.mjs';
import { marksOf } from '../lib/yjs.mjs';

const IDLE_MS = 37_000; // The clients look every 3 s whether 30 s have passed.

test('idle clients of every dialect stay connected', { timeout: 180_000 }, async (t) => {
  const [server, forwarder] = await Promise.all([serve(t), relay(t)]);
  const yjsClients = [server, forwarder].flatMap((at) => idleYjsClients(t, at));
  const repo = automergeRepo(t, server);
  await until(() => repo.connected && yjsClients.every(({ client }) => client.synced));
  const handle = repo.repo.create(EMPTY);
  await untilServerHas(repo, handle);

  const disconnected = [];
  for (const { who, client } of yjsClients) {
    client.provider.on('connection-close', () => disconnected.push(who)); // y-websocket
    client.provider.on('disconnect', () => disconnected.push(who)); // Hocuspocus
  }
  repo.repo.networkSubsystem.on('peer-disconnected', () => disconnected.push('automerge-repo'));
  await pause(IDLE_MS);

  assert.deepEqual([...disconnected], []);
  for (const { client, reader } of yjsClients) {
    marksOf(client.doc).push(['awake']);
    await until(() => marksOf(reader.doc).length === 1);
  }
  handle.change((doc) => doc.marks.push('awake'));
  await untilServerHas(repo, handle);
  assert.deepEqual([...disconnected], []);
});

/** Clients in rooms of their own, each with a reader that shows whether its edits still arrive. */
function idleYjsClients(t, at) {
  const socket = hocuspocusSocket(t, at);
  const makers = {
    'a y-websocket client': (room) => yWebsocket(t, at, room),
    'an invisible y-websocket client': (room) => invisible(yWebsocket(t, at, room)),
    'a hocuspocus client': (room) => hocuspocus(t, at, room),
    'an invisible hocuspocus client': (room) => invisible(hocuspocus(t, at, room)),
    'a hocuspocus client without awareness': (room) => hocuspocus(t, at, room, { awareness: null }),
    'one of two documents on a socket': (room) => hocuspocus(t, at, room, { websocketProvider: socket }),
    'the other document on the socket': (room) =>
      hocuspocus(t, at, room, { websocketProvider: socket, awareness: null }),
  };
  return Object.entries(makers).map(([who, make]) => ({
    who,
    client: make(who),
    // Without presence, so that only the server can keep the idle client connected.
    reader: hocuspocus(t, at, who, { awareness: null }),
  }));
}

function invisible(client) {
  client.awareness.setLocalState(null);
  return client;
}
