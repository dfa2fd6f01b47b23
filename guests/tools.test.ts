import { execFile } from 'node:child_process';
import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureTool, type ProgressEvent, type Tool, type ToolName } from 'virtio-node/guests';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const environment = (tool: Tool): NodeJS.ProcessEnv => ({ ...process.env, ...tool.environment });

test('e2fsprogs from packages makes a file system and finds it clean; damaged, it heals', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'virtio-tool-'));
  try {
    const first = await ensureTool('e2fsprogs', { path: [] });
    await truncate(first.file, 1000);
    const tool = await ensureTool('e2fsprogs', { path: [] });
    const image = join(folder, 'image');
    await run(tool.file, ['-q', '-t', 'ext4', image, '8M'], { env: environment(tool) });
    const check = await run(join(tool.folder, 'e2fsck'), ['-fn', image], { env: environment(tool) });
    expect(check.stdout).toMatch(/: 11\/\d+ files/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('chromium from packages runs a page with no screen', async () => {
  const tool = await ensureTool('chromium', { path: [] });
  const page = 'data:text/html,<p id=a></p><script>a.textContent=6*7+typeof WebAssembly</script>';
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--dump-dom', page];
  const { stdout } = await run(tool.file, args, { env: environment(tool) });
  expect(stdout).toContain('<p id="a">42object</p>');
});

test.each<[ToolName, readonly string[]]>([
  ['qemu-x86', ['pc', 'q35', 'microvm']],
  ['qemu-arm', ['virt']],
  ['qemu-s390x', ['s390-ccw-virtio']],
])('%s from packages knows its machines', async (name, machines) => {
  const progress = ({ step, detail }: ProgressEvent): void =>
    void process.stderr.write(`${step} ${detail}\n`);
  const tool = await ensureTool(name, { path: [], progress });
  const { stdout } = await run(tool.file, ['-machine', 'help'], { env: environment(tool) });
  expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(expect.arrayContaining([...machines]));
});

test('qemu-11 from packages starts with libraries of its own, and has what came with version 11', async () => {
  const tool = await ensureTool('qemu-11', { path: [] });
  const { stdout } = await run(tool.file, ['-device', 'help'], { env: environment(tool) });
  for (const device of ['vfio-user-pci', 'vhost-user-test-device-pci', 'vhost-user-blk-pci']) {
    expect(stdout).toContain(`name "${device}"`);
  }
});
