// The text in sight: a CodeMirror view bound to the text of a session.
//
// Guarantees: a position in the view is the same position in the Y.Text. CodeMirror would count "\r\n" as one
// character, so only "\n" ends a line here and pasted text is brought to it.

import { EditorState } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { UndoManager } from 'yjs';
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next';
import { cursors } from './cursors.js';
import { keys } from './keys.js';
import { markdown } from './markdown.js';

/**
 * @param {HTMLElement} parent
 * @param {import('./session.js').Session} session
 * @returns {EditorView}
 */
export function createEditor(parent, session) {
  const { name, text } = session;
  const state = EditorState.create({
    doc: text.toString(),
    extensions: [
      EditorState.lineSeparator.of('\n'),
      EditorView.clipboardInputFilter.of((pasted) => pasted.replace(/\r\n?/g, '\n')),
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({
        'aria-label': `Text of ${name}`,
        'data-testid': 'editor',
        autocapitalize: 'sentences',
        autocorrect: 'on',
        spellcheck: 'true',
        tabindex: '0',
      }),
      placeholder('Write something. Whoever opens this page writes with you.'),
      keymap.of([...yUndoManagerKeymap, ...keys]),
      yCollab(text, null, { undoManager: new UndoManager(text) }),
      cursors(session),
      markdown,
    ],
  });
  return new EditorView({ parent, state });
}
