// The README's examples run as they stand, apart from the port: each says what it promises to say.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

import { serve } from '../lib/server.mjs';

const HERE = import.meta.dirname;

const readme = await readFile(join(HERE, '../../README.md'), 'utf8');
const examples = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);

const promises = [
  { client: 'y-websocket', says: /hello from y-websocket/ },
  { client: 'hocuspocus', says: /^fsynced: hello from hocuspocus/ },
  { client: 'automerge', says: /^fsynced: automerge:\w+ hello from automerge/ },
];

test('there is an example for each client', () => assert.equal(examples.length, promises.length));

for (const [index, { client, says }] of promises.entries()) {
  test(`the example for ${client} runs`, { timeout: 60_000 }, async (t) => {
    const server = await serve(t);
    // Inside the package, so that its modules are found.
    const folder = await mkdtemp(join(HERE, 'readme-'));
    t.after(() => rm(folder, { recursive: true }));
    const file = join(folder, 'example.mjs');
    await writeFile(file, examples[index].replaceAll('127.0.0.1:8484', server.host));
    // Node 20 has the WebSocket of browsers behind this flag; later ones have it without.
    const child = spawn(process.execPath, ['--experimental-websocket', file], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill());
    const ended = once(child, 'exit').then(([code]) => assert.fail(`ended with ${code} before it said so`));
    await Promise.race([said(child.stdout, says), ended]);
    ended.catch(() => {});
  });
}

async function said(stream, words) {
  for await (const line of createInterface({ input: stream })) {
    if (words.test(line)) return;
  }
}
