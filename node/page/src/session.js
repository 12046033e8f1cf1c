// One open document: its text, its copy on this device, its connection to the server and the people in it.
//
// Guarantees: edits reach the copy on this device and the server by themselves. `close` ends every timer and socket,
// and nothing is reported after it.

import { IndexeddbPersistence } from 'y-indexeddb';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';
import { SaveTracker } from './save-tracker.js';
import { fetchDurable, shownToken } from './server.js';

/**
 * @typedef {object} Watcher
 * @property {(connection: import('./save-tracker.js').Connection, reason: string) => void} onConnection
 * @property {(state: import('./save-tracker.js').SaveState) => void} onSaveState
 * @property {() => void} onPeople
 */

/** @type {Watcher} */
const NOBODY = { onConnection() {}, onSaveState() {}, onPeople() {} };

export class Session {
  #doc = new Y.Doc();
  #provider;
  #copy;
  #tracker;
  #watcher;
  /** @type {import('./save-tracker.js').Connection} */
  #connection = 'connecting';

  /**
   * @param {string} name
   * @param {import('./person.js').Person} person
   * @param {Watcher} watcher
   */
  constructor(name, person, watcher) {
    this.name = name;
    this.text = this.#doc.getText('text');
    this.#watcher = watcher;
    this.#tracker = new SaveTracker(
      (signal) => fetchDurable(name, signal),
      (state) => this.#watcher.onSaveState(state),
    );
    this.#copy = new IndexeddbPersistence(`tombolo/${name}`, this.#doc);
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const token = shownToken();
    this.#provider = new WebsocketProvider(`${scheme}//${location.host}/yjs`, encodeURIComponent(name), this.#doc, {
      // What another tab says would have the provider as its origin, like what the server says, and would count as
      // stored. Tabs meet through the server instead.
      disableBc: true,
      params: token === null ? {} : { token },
    });
    this.awareness = this.#provider.awareness;
    this.person = person;
    this.#watchCopy();
    this.#watchConnection();
    this.#doc.on('update', (update, origin) => {
      if (origin !== this.#provider) {
        this.#tracker.want(update);
      }
    });
    this.awareness.on('change', () => this.#watcher.onPeople());
  }

  /** Whether edits would be lost if the page were left now. */
  get isAtRisk() {
    return this.#tracker.isAtRisk;
  }

  /** @param {import('./person.js').Person} person */
  set person(person) {
    this.awareness.setLocalStateField('user', person);
  }

  close() {
    this.#watcher = NOBODY;
    this.#tracker.close();
    this.#provider.destroy();
    this.#copy.destroy();
    this.#doc.destroy();
  }

  #watchCopy() {
    this.#copy.whenSynced.then(() => this.#tracker.opened({ keepsCopy: true }));
    // Any read tells whether the database could be opened at all; private windows may forbid it.
    this.#copy.get('').catch(() => this.#tracker.opened({ keepsCopy: false }));
  }

  #watchConnection() {
    this.#provider.on('status', ({ status }) => {
      if (status === 'connected') {
        // This may be another server than before, or the same with an older disk: prove everything again.
        this.#tracker.want(Y.encodeStateAsUpdate(this.#doc));
        // The others dropped this person when the connection ended, and take it back only with a higher clock.
        this.awareness.setLocalState(this.awareness.getLocalState());
      }
    });
    this.#provider.on('sync', (synced) => {
      if (synced) {
        this.#setConnection('connected');
      }
    });
    this.#provider.on('connection-close', () => this.#setConnection('offline'));
    this.#provider.on('closed', ({ reason }) => this.#setConnection('refused', reason));
  }

  /**
   * @param {import('./save-tracker.js').Connection} connection
   * @param {string} [reason]
   */
  #setConnection(connection, reason = '') {
    // Each vain attempt to connect ends anew.
    if (connection !== this.#connection) {
      this.#connection = connection;
      this.#tracker.connection(connection);
      this.#watcher.onConnection(connection, reason);
    }
  }
}
