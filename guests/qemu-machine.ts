import { ensureTool, type Tool, type ToolName } from 'virtio-node/guests';

/** QEMU of the version that the known deviations were seen with, not one that may be installed here. */
export function qemu(name: Extract<ToolName, `qemu-${string}`>): Promise<Tool> {
  let last = '';
  return ensureTool(name, {
    path: [],
    progress({ step, detail }) {
      const line = `${step} ${detail}\n`;
      if (line !== last) process.stderr.write(line);
      last = line;
    },
  });
}

/** Bytes that differ from sector to sector. */
export function pattern(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >>> 9) * 7 + seed) & 0xff;
  return bytes;
}
