// Document names, and where they stand in the address bar and in the server's paths.
//
// Guarantees: a name that is not refused here can be opened, and comes back unchanged from `hashOf`.

/** What the page opens when the address names nothing. */
export const DEFAULT_NAME = 'welcome';

const NAME_BYTES_MAX = 512;

/**
 * Why the server cannot have a document of this name, or null if it can.
 *
 * @param {string} name
 * @returns {string | null}
 */
export function refusal(name) {
  if (name.trim() === '') {
    return 'A document needs a name.';
  }
  if (new TextEncoder().encode(name).length > NAME_BYTES_MAX) {
    return 'This name is too long.';
  }
  if (name.includes('\0')) {
    return 'This name holds a character that names cannot have.';
  }
  if (name === '.' || name === '..') {
    return 'Dots alone are no name: browsers take them out of addresses.';
  }
  return null;
}

/**
 * The name in `location.hash`; the default one if there is none.
 *
 * @param {string} hash
 */
export function nameOf(hash) {
  const text = hash.replace(/^#/, '');
  try {
    return decodeURIComponent(text) || DEFAULT_NAME;
  } catch {
    return text;
  }
}

/**
 * The address of a document inside the page.
 *
 * @param {string} name
 */
export function hashOf(name) {
  return `#${encodeURIComponent(name)}`;
}
