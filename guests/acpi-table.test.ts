import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureTool } from 'virtio-node/guests';
import { mmioTable, mmioWindow } from 'virtio-v86';
import { expect, test } from 'vitest';
import { runTool } from './run-tool.ts';

test('the compiler of ACPI takes our table apart into what it says', async () => {
  const iasl = await ensureTool('acpica');
  const folder = await mkdtemp(join(tmpdir(), 'virtio-acpi-'));
  try {
    const table = join(folder, 'windows.aml');
    await writeFile(table, mmioTable(12));
    await runTool(iasl, ['-d', table]);
    const source = await readFile(join(folder, 'windows.dsl'), 'utf8');
    expect(source).toMatch(/DefinitionBlock \("", "SSDT", 2, "VIRTIO", "VIRTMMIO", 0x00000001\)/);
    expect(source).not.toMatch(/incorrect|unknown|error/i);
    const devices = source.split(/Device \(VM\d\d\)/).slice(1);
    expect(devices).toHaveLength(12);
    for (const [slot, device] of devices.entries()) {
      const { address, size, irq } = mmioWindow(slot);
      const hex = (value: number): string => `0x${value.toString(16).toUpperCase().padStart(8, '0')}`;
      expect(device).toMatch(/Name \(_HID, "LNRO0005"\)/);
      expect(device).toMatch(
        new RegExp(`Memory32Fixed \\(ReadWrite,\\s*${hex(address)},[^\\n]*\\s*${hex(size)},`),
      );
      expect(device).toMatch(
        new RegExp(
          `Interrupt \\(ResourceConsumer, Level, ActiveHigh, Shared, ,, \\)\\s*\\{\\s*${hex(irq)},\\s*\\}`,
        ),
      );
    }
    // What it took apart it puts together again, to the same bytes behind the header.
    await runTool(iasl, ['-p', join(folder, 'again'), join(folder, 'windows.dsl')]);
    const again = await readFile(join(folder, 'again.aml'));
    expect(again.subarray(36)).toEqual(Buffer.from(mmioTable(12).subarray(36)));
  } finally {
    await rm(folder, { recursive: true });
  }
});
