import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkedPerson, initials, inkOn } from '../src/person.js';

test('what a peer announces is taken only as short text and a plain colour', () => {
  const good = { name: 'Ada', color: '#B4532A' };
  assert.deepEqual(checkedPerson(good, 1), good);
  for (const announced of [undefined, null, 'Ada', { name: 7, color: 7 }, { name: '  ', color: 'red;position:fixed' }]) {
    const { name, color } = checkedPerson(announced, 1);
    assert.equal(name, 'Somebody');
    assert.match(color, /^#[0-9a-f]{6}$/);
  }
  assert.equal(checkedPerson({ name: 'x'.repeat(1000) }, 1).name.length, 40);
});

test('initials', () => {
  assert.equal(initials('Ada Lovelace Byron'), 'AB');
  assert.equal(initials('ada'), 'A');
  assert.equal(initials('😀 ok'), '😀O');
});

test('ink reads on every colour', () => {
  assert.equal(inkOn('#ffffff'), '#000000');
  assert.equal(inkOn('#000000'), '#ffffff');
  assert.equal(inkOn('#1b7491'), '#ffffff');
});
