// What the page asks the server over HTTP.
//
// Guarantees: an answer is either complete and well-formed or an exception.

import * as Y from 'yjs';

const ANSWER_MS_MAX = 10_000;

/**
 * What the page was opened with as `?token=`, for a server that wants one.
 *
 * @returns {string | null}
 */
export function shownToken() {
  return new URLSearchParams(location.search).get('token');
}

/** The server answered, and the answer is that it cannot do it. */
export class Refused extends Error {}

/**
 * The names of the Yjs documents on the server.
 *
 * @returns {Promise<string[]>}
 */
export async function listDocuments() {
  const { documents } = await getJson('/api/documents', AbortSignal.timeout(ANSWER_MS_MAX));
  return documents
    .filter((/** @type {{format: string}} */ document) => document.format === 'yjs')
    .map((/** @type {{name: string}} */ document) => document.name);
}

/**
 * What of a document is on the server's disk: everything in this snapshot was fsynced before the answer.
 *
 * @param {string} name
 * @param {AbortSignal} signal
 * @returns {Promise<Y.Snapshot>}
 */
export async function fetchDurable(name, signal) {
  const path = `/api/documents/${encodeURIComponent(name)}/durable`;
  const { snapshot } = await getJson(path, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]));
  return Y.decodeSnapshot(Uint8Array.from(atob(snapshot), (byte) => byte.charCodeAt(0)));
}

/**
 * @param {string} path
 * @param {AbortSignal} signal
 */
async function getJson(path, signal) {
  const token = shownToken();
  const headers = token === null ? undefined : { authorization: `Bearer ${token}` };
  const response = await fetch(path, { signal, headers });
  if (!response.ok) {
    throw new Refused(`${path}: ${response.status}`);
  }
  return response.json();
}
