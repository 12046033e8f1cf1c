// The keys that a browser's own editing gets wrong in a CodeMirror view: motions beyond what is drawn, deletions
// beside the cursors of others, and new lines that go on with a list. All else is left to the browser, which keeps
// @codemirror/commands and the parser behind it out of the script.
//
// Guarantees: Tab is never taken, so that keyboards get out of the editor.

import { CharCategory, EditorSelection, findClusterBreak } from '@codemirror/state';
import { continuation } from './line-start.js';

/**
 * @typedef {import('@codemirror/view').EditorView} EditorView
 * @typedef {import('@codemirror/view').KeyBinding} KeyBinding
 * @typedef {import('@codemirror/state').EditorState} EditorState
 * @typedef {import('@codemirror/state').SelectionRange} SelectionRange
 */

/** @type {KeyBinding[]} */
export const keys = [
  { key: 'Enter', run: insertLine, shift: insertLine },
  { key: 'Mod-a', run: selectAll },
  motion({ key: 'ArrowUp' }, (view, range) => byLine(view, range, false)),
  motion({ key: 'ArrowDown' }, (view, range) => byLine(view, range, true)),
  motion({ key: 'PageUp' }, (view, range) => byPage(view, range, false)),
  motion({ key: 'PageDown' }, (view, range) => byPage(view, range, true)),
  motion({ key: 'Ctrl-Home', mac: 'Cmd-ArrowUp' }, () => EditorSelection.cursor(0)),
  motion({ key: 'Ctrl-End', mac: 'Cmd-ArrowDown' }, (view) => EditorSelection.cursor(view.state.doc.length)),
  deletion({ key: 'Backspace' }, (state, from) => nextCluster(state, from, false)),
  deletion({ key: 'Delete' }, (state, from) => nextCluster(state, from, true)),
  deletion({ key: 'Ctrl-Backspace', mac: 'Alt-Backspace' }, (state, from) => nextGroup(state, from, false)),
  deletion({ key: 'Ctrl-Delete', mac: 'Alt-Delete' }, (state, from) => nextGroup(state, from, true)),
];

/** @param {EditorView} view */
function insertLine(view) {
  const { doc, selection } = view.state;
  const { from, to } = selection.main;
  const line = doc.lineAt(from);
  const prefix = continuation(line.text, from - line.from);
  if (prefix === null) {
    replace(view, line.from, to, '', 'delete');
  } else {
    replace(view, from, to, `\n${prefix}`, 'input');
  }
  return true;
}

/** @param {EditorView} view */
function selectAll(view) {
  view.dispatch({ selection: { anchor: 0, head: view.state.doc.length }, userEvent: 'select' });
  return true;
}

/**
 * A key that moves, and with Shift selects.
 *
 * @param {{ key: string, mac?: string }} key
 * @param {(view: EditorView, from: SelectionRange) => SelectionRange} move
 * @returns {KeyBinding}
 */
function motion(key, move) {
  const run = (/** @type {EditorView} */ view, /** @type {boolean} */ selects) => {
    const { main } = view.state.selection;
    const moved = move(view, main);
    const range = selects ? EditorSelection.range(main.anchor, moved.head, moved.goalColumn) : moved;
    view.dispatch({ selection: EditorSelection.create([range]), userEvent: 'select', scrollIntoView: true });
    return true;
  };
  return { ...key, run: (view) => run(view, false), shift: (view) => run(view, true) };
}

/**
 * A key that deletes what is selected, or from the cursor to a target.
 *
 * @param {{ key: string, mac?: string }} key
 * @param {(state: EditorState, from: number) => number} target
 * @returns {KeyBinding}
 */
function deletion(key, target) {
  const run = (/** @type {EditorView} */ view) => {
    const { main } = view.state.selection;
    const other = main.empty ? target(view.state, main.head) : main.anchor;
    replace(view, Math.min(main.head, other), Math.max(main.head, other), '', 'delete');
    return true;
  };
  return { ...key, run, shift: run };
}

/**
 * @param {EditorView} view
 * @param {number} from
 * @param {number} to
 * @param {string} insert
 * @param {string} userEvent
 */
function replace(view, from, to, insert, userEvent) {
  const selection = { anchor: from + insert.length };
  view.dispatch({ changes: { from, to, insert }, selection, userEvent, scrollIntoView: true });
}

/**
 * @param {EditorView} view
 * @param {SelectionRange} from
 * @param {boolean} forward
 */
function byLine(view, from, forward) {
  const moved = view.moveVertically(from, forward);
  return moved.head === from.head ? view.moveToLineBoundary(from, forward) : moved;
}

/**
 * @param {EditorView} view
 * @param {SelectionRange} from
 * @param {boolean} forward
 */
function byPage(view, from, forward) {
  return view.moveVertically(from, forward, view.scrollDOM.clientHeight - view.defaultLineHeight);
}

/**
 * The next place where a cursor may stand: what looks like one character counts as one.
 *
 * @param {EditorState} state
 * @param {number} from
 * @param {boolean} forward
 */
function nextCluster(state, from, forward) {
  const line = state.doc.lineAt(from);
  if (from === (forward ? line.to : line.from)) {
    return Math.min(Math.max(from + (forward ? 1 : -1), 0), state.doc.length);
  }
  return line.from + findClusterBreak(line.text, from - line.from, forward);
}

/**
 * The far end of the word or the run of signs beside `from`, with the spaces before it; a line break counts alone.
 *
 * @param {EditorState} state
 * @param {number} from
 * @param {boolean} forward
 */
function nextGroup(state, from, forward) {
  const line = state.doc.lineAt(from);
  const edge = forward ? line.to : line.from;
  const categorize = state.charCategorizer(from);
  let at = nextCluster(state, from, forward);
  let group = CharCategory.Space;
  for (let last = from; last !== edge; ) {
    const category = categorize(state.sliceDoc(Math.min(last, at), Math.max(last, at)));
    if (group !== CharCategory.Space && category !== group) {
      return last;
    }
    group = category;
    last = at;
    at = last === edge ? edge : nextCluster(state, last, forward);
  }
  return at;
}
