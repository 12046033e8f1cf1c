// Damage to frames, as bad memory, bad code and bad people do it.

/** A copy of `frame` with one to four random injuries. */
export function mutate(frame, random) {
  let bytes = [...frame];
  for (let left = 1 + random.below(4); left > 0; left -= 1) bytes = random.pick(INJURIES)(bytes, random);
  return Uint8Array.from(bytes);
}

const INJURIES = [flipBit, setByte, truncate, insertBytes, removeBytes, repeatPart];

function flipBit(bytes, random) {
  const at = random.below(bytes.length);
  return bytes.with(at, bytes[at] ^ (1 << random.below(8)));
}

function setByte(bytes, random) {
  return bytes.with(random.below(bytes.length), random.pick([0x00, 0x01, 0x7f, 0x80, 0xff]));
}

function truncate(bytes, random) {
  return bytes.slice(0, 1 + random.below(bytes.length));
}

function insertBytes(bytes, random) {
  return bytes.toSpliced(random.below(bytes.length), 0, ...random.bytes(1 + random.below(8)));
}

function removeBytes(bytes, random) {
  const rest = bytes.toSpliced(random.below(bytes.length), 1 + random.below(4));
  return rest.length > 0 ? rest : bytes;
}

function repeatPart(bytes, random) {
  const at = random.below(bytes.length);
  return bytes.toSpliced(at, 0, ...bytes.slice(at, at + 1 + random.below(16)));
}
