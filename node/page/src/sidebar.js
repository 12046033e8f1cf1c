// The list of documents, the field that finds or creates one, and on narrow screens the drawer that holds both.
//
// Guarantees: shows what the server has and what this device opened before; asks the server only while somebody looks
// and the server is there.

import { element } from './elements.js';
import { hashOf, refusal } from './names.js';
import { openedDocuments } from './opened.js';
import { listDocuments } from './server.js';

const REFRESH_MS = 5_000;
/** More rows are found by typing. */
const ROWS_MAX = 200;

const list = element('documents');
const hint = element('documents-hint');
const form = element('open-form');
/** @type {HTMLInputElement} */
const field = element('open-name');
const sidebar = element('sidebar');
const page = element('page');
const menuButton = element('menu');
const { compare } = new Intl.Collator(undefined, { numeric: true });

/** @type {string[]} */
let onServer = [];
let current = '';
let serverIsThere = false;
/** The rows shown, so that a list that stays the same is not replaced under somebody's finger. */
let shown = '';

/** Starts the list and the drawer. */
export function startSidebar() {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    open(field.value.trim());
  });
  field.addEventListener('input', () => {
    field.setCustomValidity('');
    show();
  });
  menuButton.addEventListener('click', () => {
    setDrawer(true);
    sidebar.focus();
  });
  matchMedia('(width < 48rem)').addEventListener('change', () => setDrawer(false));
  list.addEventListener('click', () => setDrawer(false));
  element('scrim').addEventListener('click', () => setDrawer(false));
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && isDrawerOpen()) {
      setDrawer(false);
      menuButton.focus();
    }
  });
  document.addEventListener('visibilitychange', refreshDocuments);
  setInterval(refreshDocuments, REFRESH_MS);
}

/** @param {string} name the document that is open now */
export function showCurrent(name) {
  current = name;
  setDrawer(false);
  show();
}

/** @param {boolean} isThere whether asking the server can help */
export function setServerIsThere(isThere) {
  serverIsThere = isThere;
  refreshDocuments();
}

/** Asks the server for its documents and shows the list anew. */
async function refreshDocuments() {
  if (serverIsThere && !document.hidden) {
    // Without an answer the list stays as it was: the state of the connection is shown elsewhere.
    onServer = await listDocuments().catch(() => onServer);
  }
  show();
}

/** @param {string} name */
function open(name) {
  const reason = refusal(name);
  if (reason !== null) {
    field.setCustomValidity(reason);
    field.reportValidity();
    return;
  }
  field.value = '';
  setDrawer(false);
  location.hash = hashOf(name);
  show();
}

function show() {
  const opened = openedDocuments();
  const wanted = field.value.trim().toLowerCase();
  const names = [...new Set([...onServer, ...opened.keys(), current])]
    .filter((name) => refusal(name) === null && name.toLowerCase().includes(wanted))
    .sort(compare);
  showRows(names.slice(0, ROWS_MAX).map((name) => rowOf(name, opened.get(name)?.unsaved ?? false)));
  hint.textContent = hintFor(names);
}

/** @param {Row[]} rows */
function showRows(rows) {
  const next = JSON.stringify(rows);
  if (next === shown) {
    return;
  }
  shown = next;
  const focused = document.activeElement?.getAttribute('href');
  list.replaceChildren(...rows.map(rowElement));
  if (focused) {
    const link = /** @type {HTMLElement | null} */ (list.querySelector(`[href="${CSS.escape(focused)}"]`));
    link?.focus();
  }
}

/** @param {string[]} names that match what was typed */
function hintFor(names) {
  const typed = field.value.trim();
  if (typed !== '' && !names.includes(typed)) {
    return `Enter creates “${typed}”.`;
  }
  return names.length > ROWS_MAX ? `And ${names.length - ROWS_MAX} more: type to find them.` : '';
}

/**
 * @typedef {{ name: string, isCurrent: boolean, isMarked: boolean }} Row
 * @param {string} name
 * @param {boolean} unsaved
 * @returns {Row}
 */
function rowOf(name, unsaved) {
  const isCurrent = name === current;
  // The save state tells it of the current one.
  return { name, isCurrent, isMarked: unsaved && !isCurrent };
}

/** @param {Row} row */
function rowElement({ name, isCurrent, isMarked }) {
  const link = document.createElement('a');
  link.href = hashOf(name);
  link.dir = 'auto';
  link.textContent = name;
  link.title = name;
  if (isCurrent) {
    link.ariaCurrent = 'page';
  }
  const item = document.createElement('li');
  item.append(link);
  if (isMarked) {
    const mark = document.createElement('span');
    mark.className = 'unsaved';
    mark.title = 'Has edits that are only on this device: open it to save them';
    mark.textContent = 'not saved';
    item.append(mark);
  }
  return item;
}

function isDrawerOpen() {
  return document.body.dataset.drawer === 'open';
}

/** @param {boolean} isOpen */
function setDrawer(isOpen) {
  document.body.dataset.drawer = isOpen ? 'open' : 'closed';
  menuButton.ariaExpanded = String(isOpen);
  page.inert = isOpen;
}
