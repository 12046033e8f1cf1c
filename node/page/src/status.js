// The two states a writer must be able to trust: is the server there, and is the text on its disk.
//
// Guarantees: what is shown changes at once; what is spoken waits until a state has settled, since every pause in
// typing goes through "Saving…" and back.

import { element } from './elements.js';

/** @type {Record<import('./save-tracker.js').Connection, string>} */
const CONNECTIONS = { connecting: 'Connecting…', connected: 'Connected', offline: 'Offline', refused: 'Refused' };

/** @type {Record<import('./save-tracker.js').SaveState, string>} */
const SAVE_STATES = {
  opening: 'Opening…',
  saved: 'Saved',
  saving: 'Saving…',
  kept: 'Offline – kept on this device',
  unkept: 'Offline – not saved',
  failed: 'Not saved – the server cannot store',
};

const SETTLED_MS = 1_500;

const connectionElement = element('connection');
const connectionLabel = element('connection-label');
const saveElement = element('save-state');
const spoken = element('spoken');

/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;

/**
 * @param {import('./save-tracker.js').Connection} connection
 * @param {string} [reason]
 */
export function showConnection(connection, reason = '') {
  connectionElement.dataset.state = connection;
  connectionElement.title = reason;
  connectionLabel.textContent = reason ? `${CONNECTIONS[connection]}: ${reason}` : CONNECTIONS[connection];
  speakWhenSettled();
}

/** @param {import('./save-tracker.js').SaveState} state */
export function showSaveState(state) {
  saveElement.dataset.state = state;
  saveElement.textContent = SAVE_STATES[state];
  speakWhenSettled();
}

function speakWhenSettled() {
  clearTimeout(settling);
  settling = setTimeout(() => {
    spoken.textContent = `${connectionLabel.textContent}. ${saveElement.textContent}.`;
  }, SETTLED_MS);
}
