// Proves that tokens open what they open for stock clients: who shows none learns so for good, who may only read sees
// everything and changes nothing, and a token that is sent again changes what a client may do.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EMPTY, untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo, hocuspocus, yWebsocket } from '../lib/clients.mjs';
import { rawSocket } from '../lib/raw.mjs';
import { relay, serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { marksOf, untilEqual } from '../lib/yjs.mjs';

const ofOneServer = !!process.env.TOMBOLO_CLUSTER && 'the relays of a cluster serve no page';
const timeout = 120_000;
const WRITES = 'a-token+that=opens/everything?&%';
const READS = 'a-token-for-those-who-only-read';
const guarded = ['--token', WRITES, '--read-only-token', READS];

const dialects = {
  'y-websocket': (t, server, token) => yWebsocket(t, server, 'room', token === undefined ? {} : { params: { token } }),
  hocuspocus: (t, server, token) => hocuspocus(t, server, 'room', { token }),
};

for (const [command, start] of Object.entries({ serve, relay })) {
  for (const [dialect, make] of Object.entries(dialects)) {
    test(`${command}: a ${dialect} client that may only read sees everything and changes nothing`, { timeout }, async (t) => {
      const server = await start(t, ...guarded);
      const writer = make(t, server, WRITES);
      await until(() => writer.synced);
      marksOf(writer.doc).push(['written']);
      const reader = make(t, server, READS);
      await until(() => reader.synced && marksOf(reader.doc).length === 1);
      if (dialect === 'hocuspocus') {
        assert.equal(writer.provider.authorizedScope, 'read-write');
        assert.equal(reader.provider.authorizedScope, 'readonly');
      }

      marksOf(reader.doc).push(['not allowed']);
      // What comes behind it in the reader's own stream has arrived, so it was read before.
      reader.awareness.setLocalState({ name: 'reader' });
      await until(() => writer.awareness.getStates().get(reader.doc.clientID)?.name === 'reader');
      const other = make(t, server, WRITES);
      await until(() => other.synced);
      marksOf(other.doc).push(['written later']);
      await untilEqual(writer, other);
      await until(() => marksOf(reader.doc).toArray().includes('written later'));
      assert.deepEqual(marksOf(writer.doc).toArray(), ['written', 'written later']);
      if (dialect === 'hocuspocus') assert.ok(reader.provider.hasUnsyncedChanges, 'it is not told that it is saved');

      if (command === 'serve') {
        await Promise.all([writer, reader, other].map((client) => client.destroy()));
        await server.kill9();
        await server.restart();
        const late = make(t, server, READS);
        await until(() => late.synced);
        assert.deepEqual(marksOf(late.doc).toArray(), ['written', 'written later']);
      }
    });
  }

  test(`${command}: who shows no token, or another, learns so for good`, { timeout }, async (t) => {
    const server = await start(t, ...guarded);
    for (const token of [undefined, '', 'another']) {
      const { provider } = dialects['y-websocket'](t, server, token);
      const [closed] = await new Promise((resolve) => provider.once('closed', (...args) => resolve(args)));
      assert.equal(closed.code, 4403);
      assert.equal(provider.shouldConnect, false);
      const failures = [];
      const denied = hocuspocus(t, server, 'room', {
        token: token ?? null,
        onAuthenticationFailed: ({ reason }) => failures.push(reason),
      });
      await until(() => failures.length === 1);
      assert.equal(denied.synced, false);
    }
  });
}

test('automerge-repo and y-webrtc clients show their token in the URL, and readers are turned away', { timeout }, async (t) => {
  const server = await serve(t, ...guarded);
  const at = (path, token) => ({ url: `ws://${server.host}${path}?token=${encodeURIComponent(token)}` });
  const writer = automergeRepo(t, at('/automerge', WRITES));
  await until(() => writer.connected);
  const handle = writer.repo.create(EMPTY);
  await untilServerHas(writer, handle);
  const refusals = () => server.metric('tombolo_refusals_total{reason="admission"}');
  const reader = automergeRepo(t, at('/automerge', READS));
  await until(async () => (await refusals()) > 0);
  assert.equal(reader.repo.peers.length, 0);
  const signaling = (token) => rawSocket(t, server, `/signaling?token=${encodeURIComponent(token)}`);
  const [turnedAway, listener] = [await signaling(READS), await signaling(WRITES)];
  await until(() => turnedAway.closed);
  assert.equal(turnedAway.closed.code, 1008);
  listener.send('{"type":"ping"}');
  await until(() => listener.frames.length === 1);
});

test('a token that is sent again changes what a Hocuspocus client may do', { timeout }, async (t) => {
  const server = await serve(t, ...guarded);
  let token = READS;
  const [scopes, failures, closes] = [[], [], []];
  const client = hocuspocus(t, server, 'room', {
    token: () => token,
    onAuthenticated: ({ scope }) => scopes.push(scope),
    onAuthenticationFailed: ({ reason }) => failures.push(reason),
    onClose: ({ event }) => closes.push(event.code),
  });
  const other = hocuspocus(t, server, 'room', { token: WRITES });
  await until(() => client.synced && other.synced);
  marksOf(client.doc).push(['refused at first']);
  token = WRITES;
  await client.provider.sendToken();
  await untilEqual(client, other);
  marksOf(client.doc).push(['at once']);
  await untilEqual(client, other);
  assert.deepEqual(marksOf(other.doc).toArray(), ['refused at first', 'at once']);
  assert.deepEqual(scopes, ['readonly', 'read-write']);

  // Seen again, after its seat was another for a moment.
  client.awareness.setLocalState({ name: 'client' });
  await until(() => other.awareness.getStates().get(client.doc.clientID)?.name === 'client');

  token = 'revoked';
  await client.provider.sendToken();
  await until(() => failures.length === 1 && closes.length === 1);
  await until(() => !other.awareness.getStates().has(client.doc.clientID));
  marksOf(other.doc).push(['not for everybody']);
  await until(() => other.provider.unsyncedChanges === 0);
  assert.equal(marksOf(client.doc).length, 2);
});

test('what is served over HTTP besides the page wants the token, too', { timeout, skip: ofOneServer }, async (t) => {
  const server = await serve(t, ...guarded);
  const status = async (path, headers) => (await fetch(`http://${server.host}${path}`, { headers })).status;
  for (const path of ['/api/documents', '/api/documents/room/durable']) {
    assert.equal(await status(path), 401);
    assert.equal(await status(`${path}?token=another`), 401);
    assert.equal(await status(`${path}?token=${encodeURIComponent(READS)}`), 200);
  }
  const bearer = 'plain-token-0123456789';
  const plain = await serve(t, '--token', bearer);
  const { status: code } = await fetch(`http://${plain.host}/api/documents`, {
    headers: { authorization: `Bearer ${bearer}` },
  });
  assert.equal(code, 200);
  for (const path of ['/', '/healthz', '/readyz', '/metrics']) assert.equal(await status(path), 200, path);
});
