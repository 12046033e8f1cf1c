// Proves that no frame on the automerge-repo path harms anybody but its sender: that connection gets an
// `error` message and a close code and is counted, while stock clients go on working on the same document.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';

import { cbor } from '@automerge/automerge-repo';

import { emptySyncMessage, joinAutomerge, openAutomerge } from '../lib/automerge-frames.mjs';
import { EMPTY, untilEqual, untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo } from '../lib/clients.mjs';
import { pack } from '../lib/frames.mjs';
import { mutate } from '../lib/mutate.mjs';
import { Random } from '../lib/random.mjs';
import { serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';

const timeout = 120_000;
const MUTATIONS = 300;

/** Not CBOR, or no message; refused before and after the introduction. */
const badFrames = {
  'an empty frame': new Uint8Array(),
  'random bytes': new Random(1).bytes(200),
  'CBOR null': Uint8Array.of(0xf6),
  'a CBOR list': cbor.encode(['join']),
  'a map without a type': cbor.encode({ senderId: 'x' }),
  'a map cut short': cbor.encode({ type: 'leave', senderId: 'x' }).slice(0, -2),
  'bytes behind the map': Buffer.concat([cbor.encode({ type: 'leave', senderId: 'x' }), Uint8Array.of(0)]),
  'lists nested 100,000 deep': new Uint8Array(100_000).fill(0x81),
  'a map that claims 4 billion entries': Uint8Array.of(0xba, 0xff, 0xff, 0xff, 0xff, 0x61, 0x61),
  'bytes that claim 2^63': Uint8Array.of(0xa1, 0x64, ...Buffer.from('type'), 0x5b, 0x7f, ...Array(7).fill(0xff), 1),
  'a text that is not UTF-8': Uint8Array.of(0xa1, 0x64, ...Buffer.from('type'), 0x62, 0xc3, 0x28),
};

/** Messages that no client sends after its introduction, given the honest document and the server's id. */
const badMessages = {
  'a sender that is somebody else': (about) => ({ type: 'sync', ...about, senderId: 'somebody else' }),
  'a peer message that only servers send': ({ targetId }) => ({
    type: 'peer',
    targetId,
    peerMetadata: {},
    selectedProtocolVersion: '1',
  }),
  'an error message that only servers send': () => ({ type: 'error', message: 'go away' }),
  'a document id with a wrong checksum': (about) => ({
    type: 'request',
    ...about,
    documentId: '1Bhh3pU9gLXZiNDL6PEa1Gs9fi',
  }),
  'no document id': ({ targetId, data }) => ({ type: 'request', targetId, data }),
  'no data': ({ targetId, documentId }) => ({ type: 'sync', targetId, documentId }),
  'data of no length': (about) => ({ type: 'sync', ...about, data: new Uint8Array() }),
  'a sync message that is garbage': (about) => ({ type: 'sync', ...about, data: new Random(2).bytes(100) }),
  'a sync message cut short': (about) => ({ type: 'sync', ...about, data: about.data.slice(0, -1) }),
  'a sync message that claims 2^60 heads': (about) => ({
    type: 'sync',
    ...about,
    data: Uint8Array.of(0x42, ...Array(8).fill(0x80), 0x10),
  }),
  'a change that inflates to 512 MB': (about) => ({ type: 'sync', ...about, data: deflateBomb() }),
  'a change with a wrong checksum': (about) => ({ type: 'sync', ...about, data: syncWithChange(pack(0)) }),
};

test('serve refuses what no automerge-repo client sends', { timeout }, async (t) => {
  const server = await serve(t);
  const honest = await honestClients(t, server);

  const refused = (what, open, attack) =>
    t.test(what, async () => {
      const before = await server.metric('tombolo_refusals_total');
      const attacker = await open(t, server, 'attacker');
      attack(attacker);
      await until(() => attacker.socket.closed);
      assert.equal(attacker.socket.closed.code, 1008);
      assert.equal(attacker.received('error').length, 1, 'told why');
      await until(async () => (await server.metric('tombolo_refusals_total')) > before);
      await honest.work();
    });

  await refused('a sync message before join', openAutomerge, (attacker) =>
    attacker.send({ type: 'sync', targetId: 'x', documentId: honest.documentId, data: emptySyncMessage() }),
  );
  await refused('an unknown protocol version', openAutomerge, (attacker) => attacker.join(['2']));
  for (const [when, open] of Object.entries({ 'before join': openAutomerge, 'after join': joinAutomerge })) {
    await refused(`a text frame ${when}`, open, (attacker) => attacker.socket.send('hello'));
    for (const [what, frame] of Object.entries(badFrames)) {
      await refused(`${what} ${when}`, open, (attacker) => attacker.socket.send(frame));
    }
  }
  for (const [what, message] of Object.entries(badMessages)) {
    await refused(what, joinAutomerge, (attacker) => {
      const about = { targetId: attacker.serverId, documentId: honest.documentId, data: emptySyncMessage() };
      attacker.send(message(about));
    });
  }

  await honest.checkContent();
});

test('a message of an unknown type is ignored, as stock peers do', { timeout }, async (t) => {
  const server = await serve(t);
  const honest = await honestClients(t, server);
  const newer = await joinAutomerge(t, server, 'from the future');
  newer.send({ type: 'from-the-future', targetId: newer.serverId, documentId: honest.documentId });
  newer.request(honest.documentId);
  await until(() => newer.received('sync').length > 0);
  assert.equal(newer.socket.closed, null);
  await honest.work();
});

test(`serve survives ${MUTATIONS} damaged automerge-repo frames`, { timeout }, async (t) => {
  const random = new Random(7);
  const server = await serve(t);
  const honest = await honestClients(t, server);
  const { documentId } = honest;
  for (let count = 0; count < MUTATIONS; count += 1) {
    const senderId = `attacker ${count}`;
    const attacker = await joinAutomerge(t, server, senderId);
    const about = { senderId, targetId: attacker.serverId, documentId, data: emptySyncMessage() };
    const frame = cbor.encode(
      random.pick([
        { type: 'request', ...about },
        { type: 'sync', ...about, data: syncWithChange(pack(0)) },
        { type: 'ephemeral', ...about, data: cbor.encode({ cursor: 1 }), count: 1, sessionId: 's' },
        { type: 'doc-unavailable', senderId, targetId: attacker.serverId, documentId },
        { type: 'remote-subscription-change', senderId, targetId: attacker.serverId, add: ['a'], remove: [] },
        { type: 'leave', senderId },
      ]),
    );
    attacker.socket.send(mutate(frame, random));
    await attacker.socket.settled();
    attacker.socket.terminate();
    if (count % 10 === 0) await honest.work();
  }
  assert.ok((await server.metric('tombolo_refusals_total')) > MUTATIONS / 4, 'most damage is noticed');
  await honest.checkContent();
});

/** A sync message (version 1) without heads that carries one chunk of this type and content. */
function syncWithChange(content, type = 1) {
  const chunk = Buffer.concat([Uint8Array.of(0x85, 0x6f, 0x4a, 0x83, 1, 2, 3, 4, type), pack(content)]);
  return Buffer.concat([Uint8Array.of(0x42, 0, 0, 0, 1), pack(chunk)]);
}

function deflateBomb() {
  const DEFLATED_CHANGE = 2;
  return syncWithChange(deflateRawSync(new Uint8Array(2 ** 29)), DEFLATED_CHANGE);
}

/** Two stock clients of the attacked document, and what they wrote. */
async function honestClients(t, server) {
  const clients = [automergeRepo(t, server), automergeRepo(t, server)];
  await until(() => clients.every((client) => client.connected));
  const first = clients[0].repo.create(EMPTY);
  await untilServerHas(clients[0], first);
  const handles = [first, await clients[1].repo.find(first.url)];
  const disconnects = [];
  for (const { repo } of clients) repo.networkSubsystem.on('peer-disconnected', (peer) => disconnects.push(peer));
  let count = 0;

  return {
    documentId: first.documentId,

    /** One edit from one to the other. */
    async work() {
      const [author, reader] = count % 2 === 0 ? handles : handles.toReversed();
      author.change((doc) => doc.marks.push(count));
      count += 1;
      await until(() => reader.doc().marks.length === count);
    },

    async checkContent() {
      assert.deepEqual(first.doc().marks, [...Array(count).keys()]);
      assert.deepEqual(disconnects, [], 'no honest client was disconnected');
      const fresh = await automergeRepo(t, server).repo.find(first.url);
      await untilEqual(...handles, fresh);
    },
  };
}
