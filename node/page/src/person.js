// Who sits here, and how the others are shown.
//
// Guarantees: what a peer calls itself reaches the page only as short text and as a checked `#rrggbb` colour.

import { recall, remember } from './storage.js';

const KEY = 'tombolo.person';
const NAME_LENGTH_MAX = 40;

/** Dark enough for white text on them, bright enough to be told apart on either theme. */
const COLORS = ['#b4532a', '#8a6a12', '#4f7a28', '#1f7a5c', '#1b7491', '#3a66b0', '#7257b5', '#a8457e'];
const MOODS = ['Calm', 'Brisk', 'Quiet', 'Sandy', 'Bright', 'Salty', 'Gentle', 'Windy', 'Early', 'Patient'];
const ANIMALS = ['Heron', 'Seal', 'Curlew', 'Otter', 'Gannet', 'Crab', 'Puffin', 'Plover', 'Tern', 'Urchin'];

/** @typedef {{ name: string, color: string }} Person */

/**
 * The person of this browser; a friendly stranger on the first visit.
 *
 * @returns {Person}
 */
export function thisPerson() {
  const known = recall(KEY);
  if (known) {
    return checkedPerson(known, 0);
  }
  const person = { name: `${pick(MOODS)} ${pick(ANIMALS)}`, color: pick(COLORS) };
  remember(KEY, person);
  return person;
}

/** @param {Person} person */
export function rememberPerson(person) {
  remember(KEY, person);
}

/**
 * The colour after this one.
 *
 * @param {string} color
 */
export function nextColor(color) {
  return COLORS[(COLORS.indexOf(color) + 1) % COLORS.length];
}

/**
 * A person as somebody else announced it.
 *
 * @param {any} announced
 * @param {number} client gives a colour to those who announced none
 * @returns {Person}
 */
export function checkedPerson(announced, client) {
  const name = typeof announced?.name === 'string' ? announced.name.trim().slice(0, NAME_LENGTH_MAX) : '';
  const color = announced?.color;
  return {
    name: name || 'Somebody',
    color: /^#[0-9a-f]{6}$/i.test(color) ? color : COLORS[client % COLORS.length],
  };
}

/**
 * Black or white, whichever reads better on this colour.
 *
 * @param {string} color `#rrggbb`
 */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return luminance > 0.179 ? '#000000' : '#ffffff';
}

/**
 * @param {string} name
 * @returns {string} one or two letters
 */
export function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const picked = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return picked.map((word) => [...word][0].toUpperCase()).join('');
}

/**
 * @template T
 * @param {T[]} list
 */
function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}
