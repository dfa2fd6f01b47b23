import { expect, it } from 'vitest';
import { GuestWindow } from './guest-window.ts';

/** A window, and what the guest was told: first number by second number. */
function window(): { window: GuestWindow; told: string[] } {
  const told: string[] = [];
  return {
    window: new GuestWindow({ resize: (first, second) => void told.push(`${first}x${second}`) }),
    told,
  };
}

it('says columns first to a guest that takes them first', () => {
  const { window: ours, told } = window();
  ours.resize({ columns: 100, rows: 30 });
  ours.understood({ columns: 100, rows: 30 });
  ours.resize({ columns: 80, rows: 24 });
  expect(told).toEqual(['100x30', '80x24']);
});

it('says rows first to a guest that took columns for rows, and tells it the size again', () => {
  const { window: ours, told } = window();
  ours.resize({ columns: 100, rows: 30 });
  ours.understood({ columns: 30, rows: 100 });
  ours.resize({ columns: 80, rows: 24 });
  expect(told).toEqual(['100x30', '30x100', '24x80']);
});

it('draws no conclusion from a square window, or from an answer to something else', () => {
  const { window: ours, told } = window();
  ours.understood({ columns: 25, rows: 80 });
  ours.resize({ columns: 50, rows: 50 });
  ours.understood({ columns: 50, rows: 50 });
  ours.understood({ columns: 25, rows: 80 });
  expect(told).toEqual(['50x50']);
});
