// Frames of the dialects, made by hand from the wire format, for tests that stock clients cannot run.

import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';

export const SYNC_STEP_1 = 0;
export const SYNC_STEP_2 = 1;
export const UPDATE = 2;

export const SYNC = 0;
export const AWARENESS = 1;
export const AUTH = 2;
export const STATELESS = 5;
export const CLOSE = 7;
export const SYNC_STATUS = 8;

const EMPTY_STATE_VECTOR = Uint8Array.of(0);
const EMPTY_UPDATE = Uint8Array.of(0, 0);

/** Concatenates: numbers as varUint, strings and bytes with their length before them. */
export function pack(...parts) {
  const encoder = encoding.createEncoder();
  for (const part of parts) {
    if (typeof part === 'number') encoding.writeVarUint(encoder, part);
    else if (typeof part === 'string') encoding.writeVarString(encoder, part);
    else encoding.writeVarUint8Array(encoder, part);
  }
  return encoding.toUint8Array(encoder);
}

/** The bodies that y-websocket sends bare and Hocuspocus behind an address. */
export const syncStep1 = (stateVector = EMPTY_STATE_VECTOR) => [SYNC, SYNC_STEP_1, stateVector];
export const syncStep2 = (update = EMPTY_UPDATE) => [SYNC, SYNC_STEP_2, update];
export const update = (bytes) => [SYNC, UPDATE, bytes];
export const awareness = (clientId, clock, json) => [AWARENESS, pack(1, clientId, clock, json)];

/** The first frame of a Hocuspocus document. */
export const auth = (name, token = '') => pack(name, AUTH, 0, token, '4.8.0');

/** Reads the head of a frame from a Hocuspocus server. */
export function parseHocuspocus(frame) {
  if (frame.length === 1) return { ping: frame[0] === 9 };
  const decoder = decoding.createDecoder(frame);
  const address = decoding.readVarString(decoder);
  const type = decoding.readVarUint(decoder);
  const subtype = decoder.pos < frame.length ? decoding.readVarUint(decoder) : undefined;
  return { address, type, subtype };
}
