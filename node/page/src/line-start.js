// What a Markdown line starts with: its indentation and the marker of a list item, a task or a quote.
//
// Guarantees: text without a marker starts with its indentation only, and goes on with it.

const START = /^([ \t]*)((?:>[ \t]?)+|(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?)?/;

/**
 * How many characters the start takes; 0 if there is no marker.
 *
 * @param {string} text
 */
export function markerEnd(text) {
  const { start, marker } = split(text);
  return marker === '' ? 0 : start.length;
}

/**
 * What the line after Enter starts with; null if this one holds only a marker, so that Enter ends the list instead.
 *
 * @param {string} text the line that Enter breaks
 * @param {number} column where
 * @returns {string | null}
 */
export function continuation(text, column) {
  const { start, indent, marker } = split(text);
  if (column < start.length) {
    return '';
  }
  if (marker !== '' && start === text) {
    return null;
  }
  return indent + marker.replace(/\d+/, (number) => String(Number(number) + 1)).replace(/\[[xX]\]/, '[ ]');
}

/** @param {string} text */
function split(text) {
  const [start, indent, marker = ''] = /** @type {RegExpExecArray} */ (START.exec(text));
  return { start, indent, marker };
}
