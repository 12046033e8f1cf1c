import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_NAME, hashOf, nameOf, refusal } from '../src/names.js';

test('names come back from the address', () => {
  for (const name of ['welcome', 'a b/c?d#e%f', 'Größe 😀', ' spaces ', '%41']) {
    assert.equal(nameOf(hashOf(name)), name);
  }
});

test('an address that somebody typed is read as well as it can be', () => {
  assert.equal(nameOf(''), DEFAULT_NAME);
  assert.equal(nameOf('#'), DEFAULT_NAME);
  assert.equal(nameOf('#100%'), '100%');
});

test('what the server cannot have is refused with a reason', () => {
  for (const name of ['', '  ', '.', '..', 'a\0b', 'x'.repeat(513), 'ö'.repeat(257)]) {
    assert.equal(typeof refusal(name), 'string', name);
  }
  for (const name of ['x', '...', 'x'.repeat(512), 'a/../b']) {
    assert.equal(refusal(name), null, name);
  }
});
