// The documents opened on this device before, and which of them hold edits that the server did not confirm.
//
// Guarantees: a document is `unsaved` from the first unconfirmed edit until the server confirmed all, across visits.

import { recall, remember } from './storage.js';

const KEY = 'tombolo.opened';

/** @returns {Map<string, { unsaved: boolean }>} */
export function openedDocuments() {
  const rows = recall(KEY);
  return new Map(Array.isArray(rows) ? rows.filter(isRow) : []);
}

/**
 * @param {string} name
 * @param {{ unsaved: boolean }} facts
 */
export function rememberDocument(name, { unsaved }) {
  const documents = openedDocuments();
  if (documents.get(name)?.unsaved !== unsaved) {
    remember(KEY, [...documents.set(name, { unsaved })]);
  }
}

/** @param {any} row */
function isRow(row) {
  return Array.isArray(row) && typeof row[0] === 'string' && typeof row[1]?.unsaved === 'boolean';
}
