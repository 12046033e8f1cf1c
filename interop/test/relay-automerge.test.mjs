// Proves that `tombolo relay`, which keeps nothing, is enough for automerge-repo clients that are there together:
// they converge through virtual peers over one socket each, whoever comes and goes, and a new relay may take over.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as Automerge from '@automerge/automerge';
import { cbor, generateAutomergeUrl } from '@automerge/automerge-repo';

import { emptySyncMessage, joinAutomerge, openAutomerge } from '../lib/automerge-frames.mjs';
import { EMPTY, scribble, untilEqual } from '../lib/automerge.mjs';
import { automergeRepo } from '../lib/clients.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Random } from '../lib/random.mjs';
import { relay } from '../lib/server.mjs';
import { pause, until } from '../lib/wait.mjs';

const timeout = 120_000;
/** How often a relay is killed under load. */
const KILLS = Number(process.env.TOMBOLO_TEST_KILLS ?? 10);

/** A storage in memory: with it a repo has a storage id, and keeps what it knows of others. */
class Memory {
  #rows = new Map();

  async load(key) {
    return this.#rows.get(key.join('/'));
  }

  async save(key, data) {
    this.#rows.set(key.join('/'), data);
  }

  async remove(key) {
    this.#rows.delete(key.join('/'));
  }

  async loadRange(prefix) {
    const rows = [...this.#rows].filter(([key]) => key.startsWith(prefix.join('/')));
    return rows.map(([key, data]) => ({ key: key.split('/'), data }));
  }

  async removeRange(prefix) {
    for (const { key } of await this.loadRange(prefix)) await this.remove(key);
  }
}

/** So many clients, and their handles of one document that the first of them made. */
async function together(t, at, count, options = () => ({})) {
  const clients = Array.from({ length: count }, (_, number) => automergeRepo(t, at(number), options(number)));
  await until(() => clients.every((client) => client.connected));
  const first = clients[0].repo.create(EMPTY);
  const others = [];
  for (const { repo } of clients.slice(1)) others.push(await found(repo, first.url));
  return { clients, handles: [first, ...others] };
}

/** The document, once it is here: a search right after its creation may end too early, as on any server. */
async function found(repo, url) {
  const handle = await repo.find(url, { allowableStates: ['ready', 'unavailable'] });
  await handle.whenReady();
  return handle;
}

function marksOf(handle) {
  return [...handle.doc().marks].sort();
}

for (const count of [2, 5]) {
  for (const [kind, options] of Object.entries({
    'without storage': () => ({}),
    'with storage': () => ({ storage: new Memory() }),
  })) {
    test(`${count} automerge-repo clients ${kind} converge over a relay`, { timeout }, async (t) => {
      const server = await relay(t);
      const random = new Random(1);
      const { handles } = await together(t, () => server, count, options);
      for (let edit = 0; edit < 150; edit += 1) {
        const handle = random.pick(handles);
        scribble(handle, random);
        handle.change((doc) => doc.marks.push(edit));
        if (random.chance(0.3)) await pause(random.below(30));
      }
      await untilEqual(...handles);
      assert.equal(new Set(handles[0].doc().marks).size, 150);
    });
  }

  test(`${count} clients converge after the relay was killed and replaced by an empty one`, { timeout }, async (t) => {
    const server = await relay(t);
    const { clients, handles } = await together(t, () => server, count);
    for (let round = 0; round < 3; round += 1) {
      const [author] = handles;
      author.change((doc) => doc.marks.push(`online ${round}`));
      await server.kill9();
      await until(() => clients.every((client) => !client.connected || client.repo.peers.length < count));
      for (const [number, handle] of handles.entries()) {
        handle.change((doc) => doc.marks.push(`${number} offline ${round}`));
      }
      await server.restart();
      await untilEqual(...handles);
      handles.at(-1).change((doc) => doc.marks.push(`back ${round}`));
      await untilEqual(...handles);
    }
    assert.equal(new Set(marksOf(handles[0])).size, 3 * (count + 2));
    for (const { repo } of clients) assert.ok(repo.peers.length <= count, 'clients do not collect peers');
  });
}

test(`nothing is lost when the relay is killed ${KILLS} times under load`, { timeout: timeout + KILLS * 5_000 }, async (t) => {
  const server = await relay(t);
  const random = new Random(9);
  const { clients, handles } = await together(t, () => server, 4);
  let edits = 0;
  let done = false;
  const load = (async () => {
    for (; !done; edits += 1) {
      random.pick(handles).change((doc) => doc.marks.push(edits));
      await pause(random.below(60));
    }
  })();
  for (let kill = 0; kill < KILLS; kill += 1) {
    // A handshake is let through: stock clients throw if it fails.
    await until(() => clients.every((client) => client.connected));
    await pause(random.below(300));
    await server.kill9();
    if (random.chance(0.5)) await pause(random.below(300));
    await server.restart();
  }
  done = true;
  await load;
  await untilEqual(...handles);
  assert.equal(new Set(handles[0].doc().marks).size, edits);
  for (const { repo } of clients) assert.ok(repo.peers.length < clients.length);
});

test('clients converge through random cuts, and do not collect peers', { timeout }, async (t) => {
  const random = new Random(3);
  const server = await relay(t);
  const links = await Promise.all(Array.from({ length: 4 }, () => proxy(t, server)));
  const { clients, handles } = await together(t, (number) => links[number], links.length);
  for (let edit = 0; edit < 120; edit += 1) {
    random.pick(handles).change((doc) => doc.marks.push(edit));
    if (random.chance(0.05)) random.pick(links).cut();
    if (random.chance(0.05)) random.pick(links).cutAfter(1 + random.below(2000));
    await pause(random.below(40));
  }
  await untilEqual(...handles);
  assert.equal(new Set(handles[0].doc().marks).size, 120);
  assert.ok(links.some((link) => link.cuts > 0));
  for (const { repo } of clients) assert.ok(repo.peers.length <= clients.length);
});

test('a late joiner gets the document once, from whoever is left', { timeout }, async (t) => {
  const server = await relay(t);
  const { clients, handles } = await together(t, () => server, 4);
  const text = Buffer.from(new Random(4).bytes(100_000)).toString('hex');
  handles[0].change((doc) => Automerge.splice(doc, ['text'], 0, 0, text));
  await untilEqual(...handles);
  await clients[0].destroy();
  const size = Automerge.save(handles[1].doc()).length;

  const link = await proxy(t, server);
  const joiner = automergeRepo(t, link);
  await until(() => joiner.connected);
  const handle = await joiner.repo.find(handles[1].url);
  await untilEqual(handle, ...handles.slice(1));
  handle.change((doc) => doc.marks.push('the joiner can write'));
  await untilEqual(handle, ...handles.slice(1));
  assert.ok(link.toClient < 2 * size, `the joiner received ${link.toClient} bytes for ${size}`);
});

test('edits that two made offline meet, also of documents that they opened apart', { timeout }, async (t) => {
  const server = await relay(t);
  const { clients, handles } = await together(t, () => server, 2);
  await untilEqual(...handles);
  await server.kill9();
  handles[0].change((doc) => doc.marks.push('one'));
  handles[1].change((doc) => doc.marks.push('other'));
  const made = clients[1].repo.create({ made: 'offline' });
  await server.restart();
  await untilEqual(...handles);
  assert.deepEqual(marksOf(handles[0]), ['one', 'other']);
  assert.equal((await found(clients[0].repo, made.url)).doc().made, 'offline');
});

test('many documents with different members need few peers', { timeout }, async (t) => {
  const server = await relay(t);
  const clients = Array.from({ length: 6 }, () => automergeRepo(t, server));
  await until(() => clients.every((client) => client.connected));
  for (let number = 0; number < 30; number += 1) {
    const [author, reader] = [clients[number % 6], clients[(number + 1 + (number % 5)) % 6]];
    const made = author.repo.create({ ...EMPTY, text: `document ${number}` });
    const read = await found(reader.repo, made.url);
    read.change((doc) => doc.marks.push(number));
    await untilEqual(made, read);
  }
  for (const { repo } of clients) assert.ok(repo.peers.length <= 2, `${repo.peers.length} peers`);
});

test('finding what nobody has ends as unavailable, alone and beside others', { timeout }, async (t) => {
  const server = await relay(t);
  const { clients } = await together(t, () => server, 3);
  const lone = automergeRepo(t, await relay(t));
  await until(() => lone.connected);
  const searches = [...clients, ...clients, lone].map(({ repo }) => repo.find(generateAutomergeUrl()));
  const same = generateAutomergeUrl();
  searches.push(...clients.map(({ repo }) => repo.find(same)));
  for (const search of await Promise.allSettled(searches)) {
    assert.equal(search.status, 'rejected');
    assert.match(search.reason.message, /unavailable/);
  }
});

test('who waits for a document is told when the last that had it goes, and gets it when one comes', { timeout }, async (t) => {
  const server = await relay(t);
  const author = automergeRepo(t, server);
  await until(() => author.connected);
  const made = author.repo.create({ title: 'kept by nobody else' });
  // It says that it has the document, and gives nobody anything.
  const silent = await joinAutomerge(t, server, 'silent');
  const [, greeting] = Automerge.generateSyncMessage(made.doc(), Automerge.initSyncState());
  await author.destroy();
  silent.send({ type: 'sync', targetId: silent.serverId, documentId: made.documentId, data: greeting });
  const seeker = automergeRepo(t, server);
  await until(() => seeker.connected);
  const search = seeker.repo.find(made.url);
  await until(() => silent.received('sync').length > 0);
  silent.socket.terminate();
  await assert.rejects(search, /unavailable/);

  const { repo } = automergeRepo(t, server);
  repo.import(Automerge.save(made.doc()), { docId: made.documentId });
  assert.equal((await found(seeker.repo, made.url)).doc().title, 'kept by nobody else');
});

test('ephemeral messages reach each other client once, under the name of their author', { timeout }, async (t) => {
  const server = await relay(t);
  const { clients, handles } = await together(t, () => server, 5);
  await untilEqual(...handles);
  const heard = handles.map(() => []);
  for (const [number, handle] of handles.entries()) {
    handle.on('ephemeral-message', ({ senderId, message }) => heard[number].push(`${senderId}: ${message}`));
  }
  for (let round = 0; round < 10; round += 1) {
    for (const [number, handle] of handles.entries()) handle.broadcast(`${number} ${round}`);
  }
  await until(() => heard.every((all) => all.length >= 40));
  handles[0].change((doc) => doc.marks.push('after all of them'));
  await untilEqual(...handles);
  for (const [number, all] of heard.entries()) {
    const expected = clients.flatMap(({ repo }, author) =>
      author === number ? [] : Array.from({ length: 10 }, (_, round) => `${repo.peerId}: ${author} ${round}`),
    );
    assert.deepEqual(all.toSorted(), expected.toSorted());
  }
});

test('who subscribes to a storage hears of its heads', { timeout }, async (t) => {
  const server = await relay(t);
  const options = () => ({ storage: new Memory(), enableRemoteHeadsGossiping: true });
  const { clients, handles } = await together(t, () => server, 3, options);
  const storageId = await clients[1].repo.storageId();
  clients[0].repo.subscribeToRemotes([storageId]);
  const said = () => handles[0].getSyncInfo(storageId)?.lastHeads;
  for (let edit = 0; edit < 3; edit += 1) {
    handles[edit].change((doc) => doc.marks.push(edit));
    await untilEqual(...handles);
    await until(() => said()?.join() === handles[1].heads().join());
  }
  assert.equal(handles[2].getSyncInfo(storageId), undefined, 'who did not subscribe hears nothing');
});

test('a sender of hostile messages loses its connection and reaches nobody', { timeout }, async (t) => {
  const server = await relay(t);
  const { clients, handles } = await together(t, () => server, 2);
  const disconnects = [];
  for (const { repo } of clients) repo.networkSubsystem.on('peer-disconnected', (peer) => disconnects.push(peer));
  const { documentId } = handles[0];
  const hostile = {
    'null': () => Uint8Array.of(0xf6),
    'an empty sync message': (about) => cbor.encode({ ...about, data: new Uint8Array() }),
    'a damaged sync message': (about) => cbor.encode({ ...about, data: Uint8Array.of(0x42, 5, 1, 2) }),
    'another sender': (about) => cbor.encode({ ...about, senderId: clients[0].repo.peerId, data: emptySyncMessage() }),
    'a peer message': (about) => cbor.encode({ ...about, type: 'peer', selectedProtocolVersion: '1', peerMetadata: {} }),
  };
  for (const [what, frame] of Object.entries(hostile)) {
    await t.test(what, async () => {
      const attacker = await joinAutomerge(t, server, 'attacker');
      attacker.request(documentId);
      await until(() => attacker.received('sync').length > 0);
      const about = { type: 'sync', senderId: 'attacker', targetId: attacker.serverId, documentId };
      attacker.socket.send(frame(about));
      await until(() => attacker.socket.closed);
      assert.equal(attacker.socket.closed.code, 1008);
      assert.equal(attacker.received('error').length, 1);
      const [author, reader] = handles;
      author.change((doc) => doc.marks.push(what));
      await untilEqual(author, reader);
    });
  }
  assert.deepEqual(disconnects, []);
});

test('protocol version 2 alone is refused, 1 among others is taken', { timeout }, async (t) => {
  const server = await relay(t);
  const newer = await openAutomerge(t, server, 'newer');
  newer.join(['2']);
  await until(() => newer.socket.closed);
  assert.match(newer.received('error')[0].message, /version/);
  const both = await openAutomerge(t, server, 'both');
  both.join(['2', '1']);
  await until(() => both.received('peer').length === 1);
  assert.equal(both.received('peer')[0].selectedProtocolVersion, '1');
});
