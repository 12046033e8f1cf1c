// Proves that whole writing sessions, keystroke by keystroke, come out as they were written when two authors
// take turns: each continues where the other's edits have arrived.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as Automerge from '@automerge/automerge';

import { untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo, yjsDialects } from '../lib/clients.mjs';
import { serve } from '../lib/server.mjs';
import { blocksOf, loadTrace } from '../lib/traces.mjs';
import { until } from '../lib/wait.mjs';

const timeout = 300_000;
const YJS_BLOCK = 500;
const AUTOMERGE_BLOCK = 5000; // automerge-repo sends at most once in 100 ms.

for (const name of ['automerge-paper', 'rustcode']) {
  for (const [dialect, make] of Object.entries(yjsDialects)) {
    test(`${name}, written by two ${dialect} clients in turn`, { timeout }, async (t) => {
      const { edits, endContent } = await loadTrace(name);
      const server = await serve(t);
      const authors = [make(t, server, name), make(t, server, name)];
      await until(() => authors.every((author) => author.synced));
      const texts = authors.map(({ doc }) => doc.getText('text'));

      for (const [turn, block] of blocksOf(edits, YJS_BLOCK).entries()) {
        const [text, other] = turn % 2 === 0 ? texts : [texts[1], texts[0]];
        text.doc.transact(() => {
          for (const [position, deleted, inserted] of block) {
            if (deleted > 0) text.delete(position, deleted);
            if (inserted !== '') text.insert(position, inserted);
          }
        });
        await until(() => other.length === text.length && other.toString() === text.toString());
      }

      for (const text of texts) assert.equal(text.toString(), endContent);
      const joiner = make(t, server, name);
      await until(() => joiner.synced);
      assert.equal(joiner.doc.getText('text').toString(), endContent);
    });
  }

  test(`${name}, written by two automerge-repo clients in turn`, { timeout }, async (t) => {
    const { edits, endContent } = await loadTrace(name);
    const server = await serve(t);
    const authors = [automergeRepo(t, server), automergeRepo(t, server)];
    await until(() => authors.every((author) => author.connected));
    const first = authors[0].repo.create({ text: '' });
    await untilServerHas(authors[0], first);
    const handles = [first, await authors[1].repo.find(first.url)];

    for (const [turn, block] of blocksOf(edits, AUTOMERGE_BLOCK).entries()) {
      const [handle, other] = turn % 2 === 0 ? handles : [handles[1], handles[0]];
      handle.change((doc) => {
        for (const [position, deleted, inserted] of block) {
          Automerge.splice(doc, ['text'], position, deleted, inserted);
        }
      });
      await until(() => other.doc().text === handle.doc().text);
    }

    for (const handle of handles) assert.equal(handle.doc().text, endContent);
    const joined = await automergeRepo(t, server).repo.find(first.url);
    assert.equal(joined.doc().text, endContent);
  });
}
