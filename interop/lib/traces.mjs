// The editing traces in fixtures/traces: how people really wrote a text, keystroke by keystroke.

import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';

const FOLDER = new URL('../../fixtures/traces/', import.meta.url);

/** Loads a sequential trace as `{ edits: [[position, deleted, inserted], …], endContent }`. */
export async function loadTrace(name) {
  const zipped = await readFile(new URL(`${name}.json.gz`, FOLDER));
  const { startContent, endContent, txns } = JSON.parse(gunzipSync(zipped));
  const edits = txns.flatMap(({ patches }) => patches);
  // Traces count code points, Yjs and Automerge in JavaScript count UTF-16 units. Up to U+FFFF that is the same.
  const texts = [startContent, ...edits.map(([, , inserted]) => inserted)];
  if (texts.some((text) => /[\ud800-\udfff]/.test(text))) throw new Error(`${name} needs positions converted`);
  if (startContent !== '') edits.unshift([0, 0, startContent]);
  return { edits, endContent };
}

/** Cuts the edits into blocks of `size`. */
export function blocksOf(edits, size) {
  const blocks = [];
  for (let at = 0; at < edits.length; at += size) blocks.push(edits.slice(at, at + size));
  return blocks;
}
