// Waiting for a condition. The limit is no claim about speed: it only turns a hang into a readable failure.

const POLL_MS = 10;
const PATIENCE_MS = 100_000;

/** Resolves with the first truthy value that `condition` returns or resolves to. */
export async function until(condition, patienceMs = PATIENCE_MS) {
  const giveUpAt = Date.now() + patienceMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > giveUpAt) throw new Error(`still waiting after ${patienceMs / 1000} s for ${condition}`);
    await pause(POLL_MS);
  }
}

/** Lets the event loop turn for at least `ms`. Only for pacing edits and for idling on purpose. */
export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
