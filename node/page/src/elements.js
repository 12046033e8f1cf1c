// The fixed elements of index.html.
//
// Guarantees: an id that index.html does not have is noticed at start and not at use.

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`index.html has no #${id}`);
  }
  return /** @type {T} */ (found);
}
