import { expect, it } from 'vitest';
import { TerminalModes } from './terminal-modes.ts';

const plain = '\x1b[0m\x1b(B\x0f';

function after(...pieces: string[]): string {
  const modes = new TerminalModes();
  for (const piece of pieces) modes.watch(Buffer.from(piece, 'latin1'));
  return modes.restore();
}

it('undoes nothing but colour when no mode was changed', () => {
  expect(after('hello \x1b[1;32mgreen')).toBe(plain);
});

it('leaves the alternate screen and shows the cursor when an editor was cut off', () => {
  expect(after('\x1b[?1049h\x1b[?25l text')).toBe(`\x1b[?1049l\x1b[?25h${plain}`);
});

it('undoes nothing after a program that cleaned up behind itself', () => {
  expect(after('\x1b[?1049;2004h', 'text', '\x1b[?2004l\x1b[?1049l')).toBe(plain);
});

it('sees a sequence that is cut anywhere', () => {
  const sequence = '\x1b[?1049h';
  for (let cut = 1; cut < sequence.length; cut++) {
    expect(after(`x${sequence.slice(0, cut)}`, `${sequence.slice(cut)}y`)).toBe(`\x1b[?1049l${plain}`);
  }
});

it('keeps no more than one short sequence of what a guest sends', () => {
  expect(after(`\x1b[?${'1;'.repeat(100_000)}`, '25l')).not.toContain('\x1b[?25h');
});

it('forgets all modes at a full reset', () => {
  expect(after('\x1b[?25l\x1bc')).toBe(plain);
});
