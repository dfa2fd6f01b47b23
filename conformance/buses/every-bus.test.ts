import { readdirSync } from 'node:fs';
import { buses } from 'virtio/testing';
import { expect, it } from 'vitest';

it('every bus has a file that holds our devices and drivers to the kit on it', () => {
  const files = readdirSync(import.meta.dirname).map((file) => file.replace(/(\.matrix)?\.test\.ts$/, ''));
  expect(files.filter((file) => file !== 'every-bus').sort()).toEqual(buses.map(({ name }) => name).sort());
});
