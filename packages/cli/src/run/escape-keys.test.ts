import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type EscapeAction, EscapeKeys } from './escape-keys.ts';

const typed = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** The actions as text: bytes as they are, commands in brackets. */
function shown(actions: readonly EscapeAction[]): string {
  return actions
    .map((action) => ('send' in action ? String.fromCharCode(...action.send) : `[${action.command}]`))
    .join('');
}

it.each([
  ['ls\r', 'ls\r'],
  ['a\x01x', 'a[leave]'],
  ['\x01X', '[leave]'],
  ['a\x01hb', 'a[help]b'],
  ['\x01\x01', '\x01'],
  ['\x01ab', '\x01b'],
  ['\x01\x01x', '\x01x'],
  ['\x01qz', 'z'],
])('reads %j as %j', (input, meaning) => {
  expect(shown(new EscapeKeys().push(typed(input)))).toBe(meaning);
});

it('reads the same however the bytes are cut', () => {
  const key = fc.constantFrom('\x01', 'x', 'a', 'h', 'q', '\r');
  fc.assert(
    fc.property(fc.array(key), fc.nat(20), (keys, cut) => {
      const bytes = typed(keys.join(''));
      const parts = new EscapeKeys();
      const inParts = [...parts.push(bytes.subarray(0, cut)), ...parts.push(bytes.subarray(cut))];
      expect(shown(inParts)).toBe(shown(new EscapeKeys().push(bytes)));
    }),
  );
});
