import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { doctorCommand } from './doctor.ts';

it('takes no other machine for the guest of virtio run', async () => {
  const cache = mkdtempSync(join(tmpdir(), 'virtio-doctor-'));
  vi.stubEnv('VIRTIO_CACHE', cache);
  try {
    const found = async (): Promise<string> => {
      const said: string[] = [];
      const output = { out: (piece: string) => void said.push(piece), err() {}, colour: false };
      await doctorCommand(output, { json: true });
      const { checks } = JSON.parse(said.join(''));
      return checks.find(({ name }: { name: string }) => name === 'guest').found;
    };
    mkdirSync(join(cache, 'guests', 'uml-a'), { recursive: true });
    expect(await found()).toContain('not built');
    mkdirSync(join(cache, 'guests', 'v86-a'));
    expect(await found()).toBe('v86-a');
  } finally {
    vi.unstubAllEnvs();
    rmSync(cache, { recursive: true });
  }
});
