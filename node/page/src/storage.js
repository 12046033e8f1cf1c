// Small values that this browser remembers between visits.
//
// Guarantees: a browser that forbids storage, or a value that somebody damaged, is the same as nothing remembered.

/**
 * @param {string} key
 * @returns {any} undefined if there is none
 */
export function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? '');
  } catch {
    return undefined;
  }
}

/**
 * @param {string} key
 * @param {any} value
 */
export function remember(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Storage is forbidden or full: the page works, it only forgets.
  }
}
