// Proves that notes on a device and stock clients edit the same Yjs document: `tombolo note sync` of the real binary, a
// y-websocket tab and a Hocuspocus app, through a node or through relays. Each line of the document is a mark that is
// written once, so what is lost or doubled shows. What a note was told is kept survives SIGKILL of either end.
//
// A relay on its own says that it keeps nothing, also if an archive is behind it. So what is told is told by whoever has
// the archive.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { hocuspocus, yWebsocket, yjsDialects } from '../lib/clients.mjs';
import { Notes } from '../lib/notes.mjs';
import { Random } from '../lib/random.mjs';
import { dataFolder, serve } from '../lib/server.mjs';
import { pause, until } from '../lib/wait.mjs';

const timeout = 120_000;
const ROUNDS = 6;

/** A stock client of each dialect on a note. */
function tabs(t, server, name) {
  return Object.values(yjsDialects).map((make) => make(t, server, name));
}

function textOf({ doc }) {
  return doc.getText('text').toString();
}

function type({ doc }, mark) {
  const text = doc.getText('text');
  text.insert(text.length, `${mark}\n`);
}

function marksIn(text) {
  return text.split('\n').filter((line) => line !== '');
}

function assertMarks(text, marks) {
  assert.deepEqual(marksIn(text).sort(), [...marks].sort());
}

/** Waits until all these clients say the same, with so many marks. */
async function untilSame(clients, count) {
  const is = (text) => text === textOf(clients[0]) && marksIn(text).length === count;
  await until(() => clients.map(textOf).every(is)).catch((failure) => {
    assert.fail(`${failure.message}: ${clients.map((client) => JSON.stringify(textOf(client))).join(' ')}`);
  });
}

test('notes, a y-websocket tab and a Hocuspocus app converge', { timeout }, async (t) => {
  const server = await serve(t);
  const notes = await Notes.make(t);
  const marks = ['n0'];
  await notes.good('new', 'shared', '--text', 'n0\n');
  await notes.link(server);
  const clients = tabs(t, server, 'shared');
  await until(() => clients.every((client) => client.synced));
  for (let round = 1; round <= 4; round += 1) {
    // While the notes are offline, on all sides.
    for (const [index, client] of clients.entries()) {
      marks.push(`c${index}/${round}`);
      type(client, marks.at(-1));
    }
    marks.push(`n${round}`);
    await notes.append('shared', marks.at(-1));
    const { code, stderr } = await notes.sync();
    assert.equal(code, 0, stderr);
    await untilSame(clients, marks.length);
  }
  // What was typed while the last sync ran may have come behind it.
  assert.equal((await notes.sync()).code, 0);
  assert.equal(await notes.text('shared'), textOf(clients[0]));
  assertMarks(textOf(clients[0]), marks);
});

test('a note that was handed over once is there for whoever comes later', { timeout }, async (t) => {
  const server = await serve(t);
  // The second is more than peers may say in one message.
  const noise = Buffer.from(new Random(2).bytes(1_000_000)).toString('base64');
  for (const [name, text] of [['small', 'n0'], ['large', noise]]) {
    const notes = await Notes.make(t);
    await notes.good('new', name, '--from', await file(t, text));
    await notes.link(server);
    const { code, stderr } = await notes.sync();
    assert.equal(code, 0, stderr);
    const later = yWebsocket(t, server, name);
    await until(() => textOf(later) === text);
  }
});

test('notes that stay in sync hear of everything, on two devices', { timeout }, async (t) => {
  const server = await serve(t);
  const [one, two] = [await Notes.make(t), await Notes.make(t)];
  // A relay lists nothing, so the other device names what it wants.
  for (const [index, notes] of [one, two].entries()) {
    await notes.good('new', 'shared', '--text', `n${index}\n`);
    await notes.link(server);
    notes.stay();
  }
  const clients = tabs(t, server, 'shared');
  await until(() => clients.every((client) => marksIn(textOf(client)).length === 2));
  clients.forEach((client, index) => type(client, `c${index}`));
  await untilSame(clients, 4);
  const text = textOf(clients[0]);
  for (const notes of [one, two]) {
    await until(async () => {
      const code = await notes.rest();
      assert.ok(code === 0 || code === 7, `Ctrl-C ended it with ${code}`);
      if ((await notes.text('shared')) === text) return true;
      notes.stay();
      await pause(200);
      return false;
    });
  }
});

test('what a note was told is kept survives kill -9 of the node and of the note', { timeout }, async (t) => {
  const random = new Random(3);
  const server = await serve(t);
  const notes = await Notes.make(t);
  await notes.good('new', 'shared', '--text', 'n\n');
  await notes.link(server.archive ?? server);
  const own = new Set(['n']);
  const saved = new Set();
  for (let round = 0; round < ROUNDS; round += 1) {
    const clients = tabs(t, server, 'shared');
    await until(() => clients.every((client) => client.synced));
    let typed = 0;
    const typing = setInterval(() => type(random.pick(clients), `c${round}/${typed++}`), 20);
    for (let left = 1 + random.below(3); left > 0; left -= 1) {
      own.add(`n${round}/${left}`);
      await notes.append('shared', `n${round}/${left}`);
    }
    // Every other time in the middle of it, and then sometimes both ends.
    let killed = null;
    const kill = () => (killed ??= server.kill9());
    const inTheMiddle = round % 2 === 1;
    const onStart = (child) => {
      if (!inTheMiddle) return;
      setTimeout(kill, random.below(300));
      if (random.chance(0.3)) setTimeout(() => child.kill('SIGKILL'), random.below(300));
    };
    const { kept, links, stderr } = await notes.sync(inTheMiddle ? 1 : 60, { onStart });
    if (!inTheMiddle) assert.ok(kept, `${JSON.stringify(links)} ${stderr}`);
    if (!inTheMiddle) await pause(random.below(20));
    await kill();
    clearInterval(typing);
    await Promise.all(clients.map((client) => client.destroy()));
    if (kept) {
      // Also what the others wrote and the note has.
      marksIn(await notes.text('shared')).forEach((mark) => saved.add(mark));
    }

    await server.restart();
    const reader = yWebsocket(t, server, 'shared');
    await until(() => reader.synced);
    assertKept(saved, marksIn(textOf(reader)));
    await reader.destroy();
  }
  // Nobody's word: what a note has, it has.
  const last = await notes.sync();
  assert.ok(last.kept, last.stderr);
  const text = await notes.text('shared');
  assertKept(new Set([...own, ...saved]), marksIn(text));
  const reader = hocuspocus(t, server, 'shared');
  await until(() => reader.synced);
  assert.equal(textOf(reader), text);
});

function assertKept(saved, marks) {
  const kept = new Set(marks);
  const lost = [...saved].filter((mark) => !kept.has(mark));
  assert.deepEqual(lost, [], `${lost.length} of ${saved.size} kept marks are lost`);
  assert.equal(kept.size, marks.length, 'no mark comes twice');
}

/** A file of this text. */
async function file(t, text) {
  const folder = await dataFolder(t);
  const path = join(folder.replace(/^\w+:/, ''), 'note.md');
  await writeFile(path, text);
  return path;
}
