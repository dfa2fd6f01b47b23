import { reservedFeatures } from 'virtio/spec';
import {
  configurationsFor,
  type DeviceCase,
  type DeviceSubject,
  fixtures,
  runDeviceCase,
  TransportProxy,
} from 'virtio/testing';
import type { VhostUserTransport } from 'virtio/vhost-user';
import { connectVhostUser } from 'virtio-node/vhost-user';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { allCases } from '../conformance/cases/index.ts';
import { knownDeviation } from '../conformance/known-deviations/deviation.ts';
import { type JudgedResult, judge } from '../conformance/known-deviations/judge.ts';
import { storageDaemonKnownDeviations } from '../conformance/known-deviations/qemu-storage-daemon.ts';
import { StorageDaemon } from './storage-daemon.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const bus = 'vhost-user of QEMU';
/** It answers within the turn that has the request, so turns of the connection are a clock. */
const storage = 'null-co,size=1048576,read-zeroes=on';

let daemon: StorageDaemon;
beforeAll(async () => {
  daemon = await StorageDaemon.start(storage, 2);
});
afterAll(() => daemon?.stop());

/** This back end has no status: each look at it asks something else, so that time passes at the other end. */
class Paced extends TransportProxy {
  readonly #transport: VhostUserTransport;

  constructor(transport: VhostUserTransport) {
    super(transport);
    this.#transport = transport;
  }

  override async readStatus(): Promise<number> {
    await this.#transport.session.requests.askNumber('GET_FEATURES');
    return super.readStatus();
  }
}

const [fixture] = fixtures.filter(({ name }) => name === 'blk');
const deviceCases = allCases.filter((one): one is DeviceCase => one.side === 'device');

describe('the block device of QEMU’s storage daemon', () => {
  if (fixture === undefined) throw new Error('there is no fixture of a disk');
  const { name, type, probe } = fixture;
  const connect = async (): Promise<Paced> =>
    new Paced(await connectVhostUser(daemon.device.socket, { deviceId: type.id, timeout: 60_000 }));
  const subject: DeviceSubject = { name, type, probe, bus, connect };

  it('has split rings alone, and no order', async () => {
    const transport = await connect();
    const offered = await transport.readDeviceFeatures();
    const { RING_PACKED, IN_ORDER } = reservedFeatures;
    expect([RING_PACKED, IN_ORDER].map((bit) => offered.has(bit))).toEqual([false, false]);
    await transport.close();
  });

  for (const one of deviceCases) {
    it(one.statement, async (context) => {
      const results: JudgedResult[] = [];
      for (const configuration of configurationsFor(one, [{ name: bus, unordered: true }])) {
        if (configuration.packed) continue; // it has none
        const known = knownDeviation(storageDaemonKnownDeviations, { ...one, device: name }, configuration);
        results.push({ ...(await runDeviceCase(one, subject, configuration)), known });
        // A connection that it closed is one thing, a process that is no more another.
        expect(daemon.hasEnded).toBe(false);
      }
      judge(context, results);
    });
  }
});
