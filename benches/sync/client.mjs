// A stock client as a process of its own: takes commands as lines of JSON, answers each with one. What each command
// means stands in benches/benches/sync/native.rs, which does the same with a replica.

import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';

import { AutomergeRepo } from './automerge-repo.mjs';
import { Hocuspocus, YWebsocket } from './yjs.mjs';

const KINDS = { 'y-websocket': YWebsocket, hocuspocus: Hocuspocus, 'automerge-repo': AutomergeRepo };
const PATIENCE_MS = 600_000;

const [kind, url] = process.argv.slice(2);
const client = new KINDS[kind](url);
let heard = [];

/** Nanoseconds of the clock that all processes of a machine share. */
const now = () => Number(process.hrtime.bigint());

/** Waits until `is` says so; it is asked whenever anything happened, and each ms for what tells nobody. */
async function until(is) {
  const end = Date.now() + PATIENCE_MS;
  while (!is()) {
    if (Date.now() > end) throw new Error(`${kind}: waited in vain`);
    await sleep(1);
  }
}

/** automerge-repo finds documents only where it is connected, Hocuspocus connects only what is there. */
async function openAndConnect(doc) {
  await client.connect();
  const name = await client.open(doc);
  await client.connect();
  return name;
}

const commands = {
  async open({ doc }) {
    const name = await openAndConnect(doc);
    await until(() => client.isSynced(name));
    return { doc: name };
  },

  async leave() {
    await client.disconnect();
    return {};
  },

  async join({ doc, length }) {
    const start = now();
    await openAndConnect(doc);
    await until(() => client.length(doc) === length);
    const there = now() - start;
    await until(() => client.isSynced(doc));
    return { there, ns: now() - start };
  },

  async watch({ doc }) {
    heard = [];
    client.watch(doc, () => heard.push([now(), client.length(doc)]));
    return {};
  },

  async heard() {
    return { heard };
  },

  async type({ doc, count, pause_ms }) {
    const typed = [];
    const before = client.payloadBytes;
    for (let n = 0; n < count; n += 1) {
      const begun = now();
      client.edit(doc, [[client.length(doc), 0, 'x']]);
      typed.push([begun, client.length(doc), now() - begun]);
      await sleep(pause_ms);
    }
    return { typed, payload: client.payloadBytes - before };
  },

  async trace({ doc, file, from, to }) {
    const { txns } = JSON.parse(gunzipSync(await readFile(file)));
    const edits = txns.flatMap(({ patches }) => patches).slice(from, to);
    // As fast as it goes, and as it comes to the network: a piece in each turn of the loop.
    for (let at = 0; at < edits.length; at += 1000) {
      client.edit(doc, edits.slice(at, at + 1000));
      await sleep(0);
    }
    await until(() => client.isSaved(doc));
    return { length: client.length(doc) };
  },

  async many({ prefix, count, changed }) {
    const names = await client.openMany(prefix, count);
    await client.connect();
    await until(() => names.every((name) => client.isSynced(name)));
    const step = Math.floor(count / changed);
    return { docs: names.filter((_, n) => n % step === 0).slice(0, changed) };
  },

  async touch({ docs }) {
    for (const doc of docs) await openAndConnect(doc);
    await until(() => docs.every((doc) => client.isSynced(doc)));
    for (const doc of docs) client.edit(doc, [[0, 0, 'x']]);
    await until(() => docs.every((doc) => client.isSaved(doc)));
    return {};
  },

  async rejoin({ docs, length }) {
    const start = now();
    await client.connect();
    await until(() => docs.every((doc) => client.length(doc) === length));
    const there = now() - start;
    await until(() => client.isAllSynced());
    return { there, ns: now() - start };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: command, ...rest } = JSON.parse(line);
  const answer = await commands[command](rest).catch((error) => ({ error: String(error.stack) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
