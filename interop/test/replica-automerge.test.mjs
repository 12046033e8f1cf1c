// Proves that Rust programs and stock automerge-repo clients edit the same Automerge document, known by its URL: the
// example `shopping`, each with a replica of its own, and repos, through a node. Each item is a mark that is put on the
// list once, so what is lost or doubled shows. What a program was told is kept survives SIGKILL of either end.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { untilServerHas } from '../lib/automerge.mjs';
import { automergeRepo } from '../lib/clients.mjs';
import { serve } from '../lib/server.mjs';
import { Shopping } from '../lib/shopping.mjs';
import { until } from '../lib/wait.mjs';

const timeout = 120_000;
const ROUNDS = 3;

/** Waits until all these lists have exactly these marks, in one order. */
async function untilSame(lists, marks) {
  const wanted = JSON.stringify([...marks].sort());
  const is = (list) => JSON.stringify([...(list() ?? [])].sort()) === wanted;
  const same = () => lists.every(is) && new Set(lists.map((list) => JSON.stringify(list()))).size === 1;
  await until(same).catch((failure) => {
    assert.fail(`${failure.message}: ${lists.map((list) => JSON.stringify(list())).join(' ')}, not ${wanted}`);
  });
}

test('a list of a repo and two programs converges, also after edits while the server is gone', { timeout }, async (t) => {
  const server = await serve(t);
  const client = automergeRepo(t, server);
  await until(() => client.connected);
  const handle = client.repo.create({ title: 'Saturday', items: [] });
  await untilServerHas(client, handle);
  const programs = [await Shopping.start(t, server, handle.url), await Shopping.start(t, server, handle.url)];
  const lists = [() => handle.doc().items, ...programs.map((program) => () => program.items)];
  await untilSame(lists, []);
  const marks = [];
  const put = (name) => {
    handle.change((doc) => doc.items.push(`j${name}`));
    for (const [index, program] of programs.entries()) program.put(`r${index}${name}`);
    marks.push(`j${name}`, `r0${name}`, `r1${name}`);
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    put(`a${round}`);
    await untilSame(lists, marks);
    await server.kill9();
    put(`b${round}`);
    await server.restart();
    await untilSame(lists, marks);
  }
  const late = automergeRepo(t, server);
  const found = await late.repo.find(handle.url);
  await untilSame([() => found.doc().items, ...lists], marks);
});

test('a list that a program made is found by a repo, and edited on both sides', { timeout }, async (t) => {
  const server = await serve(t);
  const program = await Shopping.start(t, server);
  program.put('r');
  await until(() => program.kept.includes('r'));
  const client = automergeRepo(t, server);
  await until(() => client.connected);
  const handle = await client.repo.find(program.url);
  assert.equal(handle.doc().title, 'Saturday');
  handle.change((doc) => doc.items.push('j'));
  await untilSame([() => handle.doc().items, () => program.items], ['r', 'j']);
});

test('what a program was told is kept is there when both ends were killed', { timeout }, async (t) => {
  const server = await serve(t);
  const program = await Shopping.start(t, server);
  const marks = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const mark of [`${round}a`, `${round}b`]) {
      program.put(mark);
      marks.push(mark);
    }
    await until(() => program.kept.includes(marks.at(-1)));
    const { url } = program;
    await Promise.all([program.kill9(), server.kill9()]);
    await server.restart();
    // The program is gone, so this is what the server has.
    const client = automergeRepo(t, server);
    await until(() => client.connected);
    const found = await client.repo.find(url);
    await untilSame([() => found.doc().items], marks);
    found.change((doc) => doc.items.push(`${round}j`));
    marks.push(`${round}j`);
    await program.run(url);
    await untilSame([() => found.doc().items, () => program.items], marks);
    await client.destroy();
  }
});
