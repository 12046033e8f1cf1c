import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EditorState } from '@codemirror/state';
import { keys } from '../src/keys.js';

/** Presses a key in a text whose selection is marked with `|`; gives the text back in the same form. */
function press(key, marked) {
  const [before, ...rest] = marked.split('|');
  const selection = { anchor: before.length, head: before.length + (rest.length > 1 ? rest[0].length : 0) };
  const view = {
    state: EditorState.create({ doc: before + rest.join(''), selection }),
    dispatch(spec) {
      this.state = this.state.update(spec).state;
    },
  };
  keys.find((binding) => binding.key === key).run(view);
  const text = view.state.doc.toString();
  const { head } = view.state.selection.main;
  return `${text.slice(0, head)}|${text.slice(head)}`;
}

const rows = [
  ['Enter', 'plain|text', 'plain\n|text'],
  ['Enter', '  indented|', '  indented\n  |'],
  ['Enter', '- one|', '- one\n- |'],
  ['Enter', '9. nine| more', '9. nine\n10. | more'],
  ['Enter', '* [x] done|', '* [x] done\n* [ ] |'],
  ['Enter', '> said|', '> said\n> |'],
  ['Enter', 'text\n- |', 'text\n|'],
  ['Enter', '|- one', '\n|- one'],
  ['Enter', 'a|bc|d', 'a\n|d'],
  ['Enter', '2026 was|', '2026 was\n|'],
  ['Backspace', 'ab|c', 'a|c'],
  ['Backspace', 'a👩‍👧|c', 'a|c'],
  ['Backspace', 'one\n|two', 'one|two'],
  ['Backspace', '|a', '|a'],
  ['Backspace', 'a|bc|d', 'a|d'],
  ['Delete', 'a|e\u0301b', 'a|b'],
  ['Delete', 'one|\ntwo', 'one|two'],
  ['Delete', 'a|', 'a|'],
  ['Ctrl-Backspace', 'one two|', 'one |'],
  ['Ctrl-Backspace', 'one two  |', 'one |'],
  ['Ctrl-Backspace', 'one...|', 'one|'],
  ['Ctrl-Backspace', 'one|', '|'],
  ['Ctrl-Backspace', 'one\n|two', 'one|two'],
  ['Ctrl-Delete', '|one two', '| two'],
  ['Ctrl-Delete', 'one| two', 'one|'],
];

for (const [key, before, after] of rows) {
  test(`${key} in ${JSON.stringify(before)}`, () => assert.equal(press(key, before), after));
}
