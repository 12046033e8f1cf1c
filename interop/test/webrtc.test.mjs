// Proves that stock y-webrtc peers find each other through /signaling and then talk to each other directly, over real
// WebRTC: through either server, with a password, and through a relay that took the place of a killed one.
//
// Peers come one after the other. Two that hear each other's announcement both make an offer, and in Node one of the
// two connections then fails and the other waits for ever: a few of a hundred pairs that are started at once, also on
// y-webrtc's own server.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

import { atEnd } from '../lib/cleanup.mjs';
import { rawSocket } from '../lib/raw.mjs';
import { relay, serve } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';

const timeout = 120_000;
const script = new URL('../lib/webrtc-peer.mjs', import.meta.url).pathname;

for (const [kind, start] of Object.entries({ serve, relay })) {
  test(`two peers meet through ${kind}`, { timeout }, async (t) => {
    const server = await start(t);
    await pair(t, server);
  });
}

test('two peers with a password meet', { timeout }, async (t) => {
  const server = await relay(t);
  await pair(t, server, 'secret');
});

test('peers meet a third through an empty relay in the place of a killed one', { timeout }, async (t) => {
  const server = await relay(t);
  const [a, b] = await pair(t, server);
  await server.kill9();
  await server.restart();
  await until(async () => (await server.clients()) === 2);
  const c = peer(t, server, 'c');
  await until(() => [a, b, c].every((one) => one.marks === 'a,b,c'));
});

/** Two peers that have met. */
async function pair(t, server, ...password) {
  const listener = await rawSocket(t, server, '/signaling');
  listener.send(JSON.stringify({ type: 'subscribe', topics: ['room'] }));
  await listener.settled();
  const a = peer(t, server, 'a', ...password);
  await until(() => listener.frames.length > 0); // It has announced itself.
  const b = peer(t, server, 'b', ...password);
  await until(() => a.marks === 'a,b' && b.marks === 'a,b');
  return [a, b];
}

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
