import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CaseResult,
  configurationsFor,
  type DeviceCase,
  type DeviceSubject,
  type Fixture,
  fixtures,
  runDeviceCase,
} from 'virtio/testing';
import { QemuPciMachine } from 'virtio-node/qemu';
import { afterAll, beforeAll, describe, it, vi } from 'vitest';
import { allCases } from '../conformance/cases/index.ts';
import { type KnownDeviation, knownDeviation } from '../conformance/known-deviations/deviation.ts';
import { type JudgedResult, judge } from '../conformance/known-deviations/judge.ts';
import { qemuKnownDeviations } from '../conformance/known-deviations/qemu.ts';
import { pattern, qemu } from './qemu-machine.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** Milliseconds after which QEMU does not answer any more; known to be so, or found out here. */
const patience = { hangs: 3000, otherwise: 60_000 };

const slots: Readonly<Record<string, number>> = { blk: 4, console: 5, entropy: 6 };
const properties = 'disable-legacy=on,packed=on,in_order=on';

let folder: string;
let machine: QemuPciMachine | undefined;

/** One machine for all cases; another one when it was lost. */
async function running(): Promise<QemuPciMachine> {
  machine ??= await QemuPciMachine.start({
    tool: await qemu('qemu-x86'),
    board: 'pc',
    sockets: ['terminal'],
    args: [
      ...['-blockdev', `driver=file,node-name=disk,filename=${join(folder, 'disk')}`],
      ...['-device', `virtio-blk-pci,addr=${slots.blk},drive=disk,${properties}`],
      ...['-device', `virtio-serial-pci,addr=${slots.console},id=console,${properties}`],
      ...['-device', 'virtconsole,bus=console.0,chardev=terminal'],
      ...['-device', `virtio-rng-pci,addr=${slots.entropy},${properties}`],
    ],
  });
  return machine;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-image-'));
  await writeFile(join(folder, 'disk'), pattern(1 << 20, 0));
});
afterAll(async () => {
  await machine?.close();
  await rm(folder, { recursive: true });
});

const deviceCases = allCases.filter((one): one is DeviceCase => one.side === 'device');

// Of the others QEMU has no device of its own.
describe.each(fixtures.filter(({ name }) => name in slots))('QEMU’s $name device', (fixture) => {
  for (const one of deviceCases) {
    it(one.statement, async (context) => {
      const results: JudgedResult[] = [];
      const hung = new Set<KnownDeviation>();
      for (const configuration of configurationsFor(one, [{ name: 'pci of QEMU' }])) {
        const device = fixture.name;
        const known = knownDeviation(qemuKnownDeviations, { ...one, device }, configuration);
        // Each time costs a machine, and the others hang alike.
        if (known !== undefined && hung.has(known)) continue;
        if (known?.hangs) hung.add(known);
        const limit = known?.hangs ? patience.hangs : patience.otherwise;
        const result = await orHangs(runDeviceCase(one, subjectOf(fixture), configuration), limit);
        results.push({ ...(result ?? failed(one, fixture, configuration)), known });
      }
      judge(context, results);
    });
  }
});

function subjectOf({ name, type, probe }: Fixture): DeviceSubject {
  const slot = slots[name];
  if (slot === undefined) throw new Error(`no device of QEMU's is set up for ${name}`);
  return {
    name,
    type,
    probe,
    bus: 'pci of QEMU',
    connect: async () => (await running()).open(slot),
  };
}

function failed(one: DeviceCase, { name }: Fixture, configuration: { readonly bus: string }): CaseResult {
  const { clause, statement } = one;
  const where = JSON.stringify(configuration);
  return {
    subject: name,
    clause,
    number: '',
    statement,
    configuration: where,
    outcome: 'failed',
    reason: 'it does not end',
  };
}

/** Waits for a case; when it does not end, the machine is given up and the answer is `undefined`. */
async function orHangs<T>(work: Promise<T>, limit: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), limit);
  });
  const result = await Promise.race([work, late]);
  clearTimeout(timer);
  if (result === undefined) {
    await machine?.close();
    machine = undefined;
    await work.catch(() => {}); // its requests fail now
  }
  return result;
}
