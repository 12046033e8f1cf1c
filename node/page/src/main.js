// The editor page: opens the document that the address names and keeps everything around it in step.
//
// Guarantees: one document is open at a time; leaving one ends its connection before the next begins.

import { createEditor } from './editor.js';
import { element } from './elements.js';
import { DEFAULT_NAME, hashOf, nameOf, refusal } from './names.js';
import { rememberDocument } from './opened.js';
import { introducePerson, showPeople } from './people.js';
import { Session } from './session.js';
import { setServerIsThere, showCurrent, startSidebar } from './sidebar.js';
import { showConnection, showSaveState } from './status.js';

const title = element('document-name');
const place = element('editor');

/** @type {{ session: Session, editor: import('@codemirror/view').EditorView } | null} */
let opened = null;

let person = introducePerson((changed) => {
  person = changed;
  if (opened !== null) {
    opened.session.person = changed;
  }
});

startSidebar();
element('skip').addEventListener('click', () => opened?.editor.focus());
addEventListener('hashchange', openAddress);
addEventListener('beforeunload', (event) => {
  if (opened?.session.isAtRisk) {
    event.preventDefault();
  }
});
if (location.hash === '') {
  history.replaceState(null, '', hashOf(DEFAULT_NAME));
}
openAddress();

function openAddress() {
  const name = nameOf(location.hash);
  opened?.editor.destroy();
  opened?.session.close();
  opened = null;
  document.title = `${name} – Tombolo`;
  title.textContent = name;
  const reason = refusal(name);
  if (reason === null) {
    openDocument(name);
  } else {
    place.textContent = reason;
  }
  showCurrent(name);
}

/** @param {string} name */
function openDocument(name) {
  place.replaceChildren();
  showConnection('connecting');
  showSaveState('opening');
  const session = new Session(name, person, {
    onConnection(connection, reason) {
      showConnection(connection, reason);
      setServerIsThere(connection === 'connected');
    },
    onSaveState(state) {
      showSaveState(state);
      rememberDocument(name, { unsaved: state !== 'saved' });
    },
    onPeople: () => showPeople(session.awareness),
  });
  opened = { session, editor: createEditor(place, session) };
  showPeople(session.awareness);
  // A touch screen would answer focus with its keyboard over half of the text.
  if (matchMedia('(pointer: fine)').matches) {
    opened.editor.focus();
  }
}
