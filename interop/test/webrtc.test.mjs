// Proves that stock y-webrtc peers find each other through /signaling and then talk to each other directly, over real
// WebRTC: through either server, with a password, and through a relay that took the place of a killed one.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

import { atEnd } from '../lib/cleanup.mjs';
import { relay, serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';

const timeout = 120_000;
const script = new URL('../lib/webrtc-peer.mjs', import.meta.url).pathname;

for (const [kind, start] of Object.entries({ serve, relay })) {
  test(`two peers meet through ${kind}`, { timeout }, async (t) => {
    const server = await start(t);
    const [a, b] = [peer(t, server, 'a'), peer(t, server, 'b')];
    await until(() => a.marks === 'a,b' && b.marks === 'a,b');
  });
}

test('two peers with a password meet', { timeout }, async (t) => {
  const server = await relay(t);
  const [a, b] = [peer(t, server, 'a', 'secret'), peer(t, server, 'b', 'secret')];
  await until(() => a.marks === 'a,b' && b.marks === 'a,b');
});

test('peers meet a third through an empty relay in the place of a killed one', { timeout }, async (t) => {
  const server = await relay(t);
  const [a, b] = [peer(t, server, 'a'), peer(t, server, 'b')];
  await until(() => a.marks === 'a,b' && b.marks === 'a,b');
  await server.kill9();
  await server.restart();
  const c = peer(t, server, 'c');
  await until(() => [a, b, c].every((one) => one.marks === 'a,b,c'));
});

/** Starts a peer; `marks` is what it said last. */
function peer(t, server, ...args) {
  const url = `ws://${server.host}/signaling`;
  const child = spawn(process.execPath, [script, url, 'room', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(t, async () => {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });
  const state = { marks: '' };
  createInterface({ input: child.stdout }).on('line', (line) => (state.marks = line));
  return state;
}
