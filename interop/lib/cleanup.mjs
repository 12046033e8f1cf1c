// Undoing what a test set up, latest first, so that clients go before the server they talk to.

const stacks = new WeakMap();

/** Runs `action` when the test `t` has ended. Every action runs; the first failure is reported. */
export function atEnd(t, action) {
  if (!stacks.has(t)) {
    const stack = [];
    stacks.set(t, stack);
    t.after(() => unwind(stack));
  }
  stacks.get(t).push(action);
}

async function unwind(stack) {
  const failures = [];
  while (stack.length > 0) {
    try {
      await stack.pop()();
    } catch (failure) {
      failures.push(failure);
    }
  }
  if (failures.length > 0) throw failures[0];
}
