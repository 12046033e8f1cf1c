// How Markdown looks while it is written: headings stand out, marks step back. Lines are read one by one, without a
// parser, because the text stays plain text.
//
// Guarantees: looks only at what is in sight, and never changes the text.

import { Decoration, ViewPlugin } from '@codemirror/view';
import { markerEnd } from './line-start.js';

/** Longer lines are data, and a pattern over them would be felt. */
const LINE_LENGTH_MAX = 5_000;

const FENCE = /^ {0,3}(```|~~~)/;

/** @type {[RegExp, string][]} A line of this form has this class. */
const LINES = [
  [/^# /, 'md-heading md-heading-1'],
  [/^## /, 'md-heading md-heading-2'],
  [/^### /, 'md-heading md-heading-3'],
  [/^#{4,6} /, 'md-heading'],
  [/^ {0,3}>/, 'md-quote'],
  [/^ {0,3}([-*_])( *\1){2,} *$/, 'md-mark'],
];

/** @type {[RegExp, string][]} The first group, if there is one, and else all of it has this class. */
const SPANS = [
  [/^(?: {0,3})(#{1,6}) /dg, 'md-mark'],
  [/^\s*([-*+]|\d{1,9}[.)])(?: \[[ xX]\])? /dg, 'md-mark'],
  [/`[^`]+`/dg, 'md-code'],
  [/\*\*[^*\s](?:[^*]*[^*\s])?\*\*|__[^_\s](?:[^_]*[^_\s])?__/dg, 'md-strong'],
  [/(?<![*\w])\*[^*\s](?:[^*]*[^*\s])?\*(?![*\w])|(?<![_\w])_[^_\s](?:[^_]*[^_\s])?_(?![_\w])/dg, 'md-emphasis'],
  [/~~[^~\s](?:[^~]*[^~\s])?~~/dg, 'md-struck'],
  [/\[[^\]]*\](\([^)\s]*\))/dg, 'md-mark'],
];

export const markdown = ViewPlugin.define((view) => new Looks(view), { decorations: (looks) => looks.decorations });

class Looks {
  /** @param {import('@codemirror/view').EditorView} view */
  constructor(view) {
    this.decorations = decorate(view);
  }

  /** @param {import('@codemirror/view').ViewUpdate} update */
  update(update) {
    if (update.docChanged || update.viewportChanged) {
      this.decorations = decorate(update.view);
    }
  }
}

/** @param {import('@codemirror/view').EditorView} view */
function decorate({ state: { doc }, viewport }) {
  const ranges = [];
  const first = doc.lineAt(viewport.from).number;
  const last = doc.lineAt(viewport.to).number;
  let fenced = opensFence(doc, first);
  for (let number = first; number <= last; number += 1) {
    const line = doc.line(number);
    const fence = FENCE.test(line.text);
    if (fence || fenced) {
      ranges.push(Decoration.line({ class: 'md-block' }).range(line.from));
    } else if (line.length <= LINE_LENGTH_MAX) {
      ranges.push(...looksOf(line));
    }
    fenced = fence !== fenced;
  }
  return Decoration.set(ranges, true);
}

/**
 * Whether a fence before this line is open.
 *
 * @param {import('@codemirror/state').Text} doc
 * @param {number} end line number
 */
function opensFence(doc, end) {
  let fences = 0;
  for (const text of doc.iterLines(1, end)) {
    fences += Number(FENCE.test(text));
  }
  return fences % 2 === 1;
}

/** @param {import('@codemirror/state').Line} line */
function looksOf({ text, from }) {
  const ranges = [];
  const hang = markerEnd(text);
  if (hang > 0) {
    ranges.push(Decoration.line({ class: 'md-item', attributes: { style: `--hang: ${hang}ch` } }).range(from));
  }
  for (const [form, name] of LINES) {
    if (form.test(text)) {
      ranges.push(Decoration.line({ class: name }).range(from));
    }
  }
  for (const [form, name] of SPANS) {
    for (const { indices } of text.matchAll(form)) {
      const [start, end] = /** @type {RegExpIndicesArray} */ (indices)[1] ?? /** @type {any} */ (indices)[0];
      ranges.push(Decoration.mark({ class: name }).range(from + start, from + end));
    }
  }
  return ranges;
}
