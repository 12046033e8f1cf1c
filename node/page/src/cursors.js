// The cursors and selections of the others in the text, and the announcement of one's own.
//
// Guarantees: what a peer announces can colour and label a place in this text and do nothing else; a position that
// makes no sense is not drawn. (The cursors of y-codemirror.next put a peer's colour into a style attribute unread,
// and keep an old name as long as the colour stays.)

import { StateEffect } from '@codemirror/state';
import { Decoration, EditorView, ViewPlugin, WidgetType } from '@codemirror/view';
import * as Y from 'yjs';
import { checkedPerson, inkOn } from './person.js';

/**
 * @typedef {import('./person.js').Person} Person
 * @typedef {import('./session.js').Session} Session
 */

const SHOWN_MAX = 50;

/** Somebody came, went or moved. */
const peopleChanged = StateEffect.define();

/**
 * Must come after the extension that keeps editor and Y.Text equal.
 *
 * @param {Session} session
 * @returns {import('@codemirror/state').Extension}
 */
export function cursors(session) {
  return [
    ViewPlugin.define((view) => new RemoteCursors(view, session), { decorations: (plugin) => plugin.decorations }),
    EditorView.updateListener.of((update) => {
      if (update.view.hasFocus && (update.selectionSet || update.docChanged || update.focusChanged)) {
        announce(update.state.selection.main, session);
      }
    }),
  ];
}

/**
 * Tells the others where this selection is, if they do not know: edits around it leave its place as it is.
 *
 * @param {import('@codemirror/state').SelectionRange} selection
 * @param {Session} session
 */
function announce({ anchor, head }, { text, awareness }) {
  const known = awareness.getLocalState()?.cursor;
  const cursor = {
    anchor: Y.createRelativePositionFromTypeIndex(text, anchor),
    head: Y.createRelativePositionFromTypeIndex(text, head),
  };
  const isKnown =
    Y.compareRelativePositions(known?.anchor ?? null, cursor.anchor) &&
    Y.compareRelativePositions(known?.head ?? null, cursor.head);
  if (!isKnown) {
    awareness.setLocalStateField('cursor', cursor);
  }
}

class RemoteCursors {
  #session;
  #onChange;

  /**
   * @param {EditorView} view
   * @param {Session} session
   */
  constructor(view, session) {
    this.#session = session;
    this.#onChange = (/** @type {{added: number[], updated: number[], removed: number[]}} */ changes) => {
      const own = session.awareness.clientID;
      if (Object.values(changes).flat().some((client) => client !== own)) {
        view.dispatch({ effects: peopleChanged.of(null) });
      }
    };
    session.awareness.on('change', this.#onChange);
    this.decorations = this.#decorate(view.state.doc.length);
  }

  /** @param {import('@codemirror/view').ViewUpdate} update */
  update(update) {
    const moved = update.transactions.some(({ effects }) => effects.some((effect) => effect.is(peopleChanged)));
    if (moved || update.docChanged) {
      this.decorations = this.#decorate(update.state.doc.length);
    }
  }

  destroy() {
    this.#session.awareness.off('change', this.#onChange);
  }

  /** @param {number} length of the text */
  #decorate(length) {
    const { awareness, text } = this.#session;
    const ranges = [];
    for (const [client, { user, cursor }] of [...awareness.getStates()].slice(0, SHOWN_MAX)) {
      const anchor = placeOf(cursor?.anchor, text);
      const head = placeOf(cursor?.head, text);
      if (client === awareness.clientID || anchor === null || head === null || Math.max(anchor, head) > length) {
        continue;
      }
      const person = checkedPerson(user, client);
      if (anchor !== head) {
        const mark = Decoration.mark({ class: 'cursor-selection', attributes: { style: `--person: ${person.color}` } });
        ranges.push(mark.range(Math.min(anchor, head), Math.max(anchor, head)));
      }
      const widget = new Cursor(person, JSON.stringify(cursor.head));
      ranges.push(Decoration.widget({ widget, side: head > anchor ? -1 : 1 }).range(head));
    }
    return Decoration.set(ranges, true);
  }
}

class Cursor extends WidgetType {
  /**
   * @param {Person} person
   * @param {string} place a cursor that moved is drawn anew, which shows its label again
   */
  constructor(person, place) {
    super();
    this.person = person;
    this.place = place;
  }

  /** @param {Cursor} other */
  eq({ person, place }) {
    return place === this.place && person.name === this.person.name && person.color === this.person.color;
  }

  toDOM() {
    const cursor = document.createElement('span');
    cursor.className = 'cursor';
    cursor.style.setProperty('--person', this.person.color);
    cursor.style.setProperty('--person-ink', inkOn(this.person.color));
    const label = document.createElement('span');
    label.className = 'cursor-label';
    label.dataset.testid = 'cursor-label';
    label.textContent = this.person.name;
    cursor.append(label);
    return cursor;
  }

  ignoreEvent() {
    return true;
  }
}

/**
 * @param {any} announced a relative position as JSON
 * @param {Y.Text} text
 * @returns {number | null} null if it is no place in this text
 */
function placeOf(announced, text) {
  try {
    const position = Y.createRelativePositionFromJSON(announced);
    const place = Y.createAbsolutePositionFromRelativePosition(position, /** @type {Y.Doc} */ (text.doc));
    return place?.type === text ? place.index : null;
  } catch {
    return null;
  }
}
