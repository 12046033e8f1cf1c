// Who is here: one's own name and colour, and a badge for everybody in the document.
//
// Guarantees: one's own badge comes first; names are text.

import { element } from './elements.js';
import { checkedPerson, initials, inkOn, nextColor, rememberPerson, thisPerson } from './person.js';

/** @typedef {import('./person.js').Person} Person */

const BADGES_MAX = 5;
const MORE_COLOR = '#5c6b73';

const list = element('people');
/** @type {HTMLInputElement} */
const nameField = element('person-name');
const colorButton = element('person-color');

/** The people shown, so that a mere move of a cursor leaves the badges alone. */
let shown = '';

/**
 * Fills the fields about oneself.
 *
 * @param {(person: Person) => void} onChange called with each change the writer makes
 * @returns {Person} who it is now
 */
export function introducePerson(onChange) {
  let person = thisPerson();
  nameField.value = person.name;
  colorButton.style.setProperty('--person', person.color);
  const change = (/** @type {Partial<Person>} */ part) => {
    person = { ...person, ...part };
    colorButton.style.setProperty('--person', person.color);
    rememberPerson(person);
    onChange(person);
  };
  nameField.addEventListener('input', () => change({ name: nameField.value }));
  colorButton.addEventListener('click', () => change({ color: nextColor(person.color) }));
  return person;
}

/** @param {import('y-protocols/awareness').Awareness} awareness */
export function showPeople(awareness) {
  const own = awareness.clientID;
  const clients = [...awareness.getStates().keys()].sort((a, b) => Number(b === own) - Number(a === own) || a - b);
  const badges = clients.slice(0, BADGES_MAX).map((client) => {
    const { name, color } = checkedPerson(awareness.getStates().get(client)?.user, client);
    return { sign: initials(name), label: client === own ? `${name} (you)` : name, color };
  });
  const more = clients.length - badges.length;
  if (more > 0) {
    badges.push({ sign: `+${more}`, label: `and ${more} more`, color: MORE_COLOR });
  }
  const next = JSON.stringify(badges);
  if (next !== shown) {
    shown = next;
    list.replaceChildren(...badges.map(badge));
  }
}

/** @param {{ sign: string, label: string, color: string }} person */
function badge({ sign, label, color }) {
  const item = document.createElement('li');
  item.className = 'badge';
  item.title = label;
  item.style.setProperty('--person', color);
  item.style.setProperty('--person-ink', inkOn(color));
  const letters = document.createElement('span');
  letters.ariaHidden = 'true';
  letters.textContent = sign;
  const name = document.createElement('span');
  name.className = 'unseen';
  name.textContent = label;
  item.append(letters, name);
  return item;
}
