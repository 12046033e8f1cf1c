// Proves that notes on a device and stock clients edit the same Yjs document: `tombolo note sync` of the real binary, a
// y-websocket tab and a Hocuspocus app, through a node or through relays. Each line of the document is a mark that is
// written once, so what is lost or doubled shows. What a note was told is kept survives SIGKILL of either end.
//
// A relay on its own says that it keeps nothing, also if an archive is behind it. So what is told is told by whoever has
// the archive.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hocuspocus, yWebsocket, yjsDialects } from '../lib/clients.mjs';
import { Notes } from '../lib/notes.mjs';
import { Random } from '../lib/random.mjs';
import { serve } from '../lib/server.mjs';
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
