// Proves that no frame on the Yjs paths harms anybody but its sender: that connection is closed with a code
// and counted, while stock clients of both dialects go on working in the same room. An exception that a
// forwarded frame caused inside a stock client would fail these tests, because nothing here catches it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hocuspocus, yWebsocket } from '../lib/clients.mjs';
import {
  AUTH,
  AWARENESS,
  STATELESS,
  SYNC,
  SYNC_STATUS,
  UPDATE,
  auth,
  awareness,
  pack,
  syncStep1,
  syncStep2,
  update,
} from '../lib/frames.mjs';
import { mutate } from '../lib/mutate.mjs';
import { Random } from '../lib/random.mjs';
import { rawSocket } from '../lib/raw.mjs';
import { relay, serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';
import { marksOf, untilEqual } from '../lib/yjs.mjs';

const timeout = 120_000;
const MUTATIONS = 300;
const ROOM = 'room';

/** An update by client 1 that writes "hi" into a text of its own. */
const GOOD_UPDATE = Buffer.from('010101000401017402686900', 'hex');
const ENDLESS = new Uint8Array(12).fill(0xff);
const HUGE = [0xff, 0xff, 0xff, 0xff, 0x0f]; // varUint of 2^32 - 1
const BEYOND_JAVASCRIPT = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]; // varUint of 2^56 - 1
const nested = (levels) => '['.repeat(levels) + ']'.repeat(levels);

const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** Bodies that no y-protocols peer sends. */
const badBodies = {
  'an unknown type': pack(77),
  'an unknown sync subtype': pack(SYNC, 3, GOOD_UPDATE),
  'a type without a body': pack(SYNC),
  'a truncated update': pack(...update(GOOD_UPDATE)).slice(0, -3),
  'bytes behind the message': join(pack(...syncStep1()), [0]),
  'a number that does not end': join([SYNC, UPDATE], ENDLESS),
  'a claimed length of 4 GB': join([SYNC, UPDATE], HUGE, [1]),
  'an update that is garbage': pack(...update(Uint8Array.of(7, 7, 7, 7, 7, 7))),
  'an update that claims 4 billion structs': pack(...update(join([1], HUGE, [1, 0]))),
  'an update cut inside': pack(...update(GOOD_UPDATE.subarray(0, 8))),
  'a SyncStep2 that is garbage': pack(...syncStep2(Uint8Array.of(1, 200))),
  'a state vector that is garbage': pack(...syncStep1(Uint8Array.of(9, 1))),
  'a state vector of 4 billion clients': pack(...syncStep1(join(HUGE, [1, 1]))),
  'awareness that is not JSON': pack(...awareness(1, 1, '{"n":')),
  'awareness that is no text': pack(AWARENESS, join(pack(1, 1, 1), [2, 0xc3, 0x28])),
  'awareness nested deeper than a client can take': pack(...awareness(1, 1, nested(20_000))),
  'awareness with fewer entries than claimed': pack(AWARENESS, pack(3, 1, 1, 'null')),
  'awareness of a client id beyond 2^53': pack(AWARENESS, join([1], BEYOND_JAVASCRIPT, pack(1, '{}'))),
  'awareness with a clock beyond 2^53': pack(AWARENESS, join([1, 1], BEYOND_JAVASCRIPT, pack('{}'))),
  'a denial that only servers send': pack(AUTH, 0, 'no'),
};

const behind = (address, body) => join(pack(address), body);

/** Frames that no Hocuspocus provider sends, on a connection where `room` is authenticated. */
const badHocuspocusFrames = {
  'an address cut short': Uint8Array.of(100, 1, 2),
  'an address that is no text': Uint8Array.of(2, 0xc3, 0x28, 0),
  'a ping that only servers send': Uint8Array.of(9),
  'an unknown message type': pack(ROOM, 11),
  'a SyncReply between servers': pack(ROOM, 4, ...update(GOOD_UPDATE).slice(1)),
  'a BroadcastStateless between servers': pack(ROOM, 6, 'x'),
  'a SyncStatus from a client': pack(ROOM, SYNC_STATUS, 1),
  'an "authenticated" from a client': pack(ROOM, AUTH, 2, 'read-write'),
  'a "permission denied" from a client': pack(ROOM, AUTH, 1, 'no'),
  'a token cut short': join(pack(ROOM, AUTH, 0), [50, 1]),
  'a stateless message that is no text': join(pack(ROOM, STATELESS), [2, 0xc3, 0x28]),
  ...Object.fromEntries(
    Object.entries(badBodies)
      .filter(([what]) => what !== 'a denial that only servers send')
      .map(([what, body]) => [what, behind(ROOM, body)]),
  ),
};

/** Bytes that break WebSocket itself, written past the framing of the client's library. */
const badStreams = {
  'a frame without a mask': [[0x82, 0x01, 0x00], 1002],
  'a reserved opcode': [[0x83, 0x80, 0, 0, 0, 0], 1002],
  'a fragmented ping': [[0x09, 0x80, 0, 0, 0, 0], 1002],
  'a frame that claims 2^62 bytes': [[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1009],
};

const dialects = {
  'y-websocket': { path: `/yjs/${ROOM}`, opening: [], bad: badBodies, code: 4500 },
  hocuspocus: { path: '/hocuspocus', opening: [auth(ROOM)], bad: badHocuspocusFrames, code: 4401 },
};

for (const [command, start] of Object.entries({ serve, relay })) {
  for (const [dialect, { path, opening, bad, code }] of Object.entries(dialects)) {
    test(`${command} refuses what no ${dialect} client sends`, { timeout }, async (t) => {
      const server = await start(t);
      const honest = await honestClients(t, server);

      const refused = (what, expected, attack) =>
        t.test(what, async () => {
          const before = await server.metric('tombolo_refusals_total');
          const attacker = await rawSocket(t, server, path);
          for (const frame of opening) attacker.send(frame);
          attack(attacker);
          await until(() => attacker.closed);
          assert.equal(attacker.closed.code, expected);
          await until(async () => (await server.metric('tombolo_refusals_total')) > before);
          await honest.work();
        });

      await refused('an empty frame', code, (attacker) => attacker.send(new Uint8Array()));
      await refused('random bytes', code, (attacker) => attacker.send(join([0xfe], new Random(1).bytes(100))));
      await refused('a text frame', 1003, (attacker) => attacker.send('hello'));
      for (const [what, frame] of Object.entries(bad)) {
        await refused(what, code, (attacker) => attacker.send(frame));
      }
      for (const [what, [stream, expected]] of Object.entries(badStreams)) {
        await refused(what, expected, (attacker) => attacker.writeUnframed(Uint8Array.from(stream)));
      }

      await honest.checkContent(start === serve);
    });

    test(`${command} survives ${MUTATIONS} damaged ${dialect} frames`, { timeout }, async (t) => {
      const random = new Random(7);
      const server = await start(t);
      const honest = await honestClients(t, server);
      const captured = [syncStep1(), syncStep2(), update(GOOD_UPDATE), awareness(1, 1, '{"n":1}'), [3]].map((body) =>
        dialect === 'hocuspocus' ? pack(ROOM, ...body) : pack(...body),
      );
      for (let count = 0; count < MUTATIONS; count += 1) {
        const attacker = await rawSocket(t, server, path);
        for (const frame of opening) attacker.send(frame);
        attacker.send(mutate(random.pick(captured), random));
        await attacker.settled();
        attacker.terminate();
        if (count % 10 === 0) await honest.work();
      }
      assert.ok((await server.metric('tombolo_refusals_total')) > MUTATIONS / 4, 'most damage is noticed');
      await honest.checkMarks();
    });
  }
}

/** A client of each dialect in the attacked room, and what they wrote. */
async function honestClients(t, server) {
  const clients = [yWebsocket(t, server, ROOM), hocuspocus(t, server, ROOM)];
  await until(() => clients.every((client) => client.synced));
  const disconnects = [];
  clients[0].provider.on('connection-close', () => disconnects.push('y-websocket'));
  clients[1].provider.on('close', () => disconnects.push('hocuspocus'));
  let count = 0;

  const checkMarks = () => {
    for (const { doc } of clients) assert.deepEqual(marksOf(doc).toArray(), [...Array(count).keys()]);
    assert.deepEqual(disconnects, [], 'no honest client was disconnected');
  };

  return {
    checkMarks,

    /** One edit and one state of presence in each direction. */
    async work() {
      for (const [author, reader] of [clients, clients.toReversed()]) {
        marksOf(author.doc).push([count]);
        author.awareness.setLocalState({ count });
        count += 1;
        await until(() => marksOf(reader.doc).length === count);
        await until(() => reader.awareness.getStates().get(author.doc.clientID)?.count === count - 1);
      }
    },

    async checkContent(isStored) {
      checkMarks();
      await untilEqual(...clients);
      const fresh = yWebsocket(t, server, ROOM);
      await until(() => fresh.synced);
      await untilEqual(clients[0], fresh);
      if (isStored) await until(() => clients[1].provider.unsyncedChanges === 0);
    },
  };
}
