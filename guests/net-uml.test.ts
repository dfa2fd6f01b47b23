/** Our network device and user network under user-mode Linux, whose kernel is the youngest that is tried here. */
import { expect, test } from 'vitest';
import { ipsecGuest, talksToLinux } from './ipsec-suite.ts';
import { NativeMachine, startUml } from './native-machine.ts';
import { netGuest } from './net-servers.ts';
import { netSuite, testFourPairs } from './net-suite.ts';

const netAndIpsecGuest = {
  programs: [...netGuest.programs, ...ipsecGuest.programs],
  modules: ipsecGuest.modules,
};

const start = startUml(netAndIpsecGuest);

const suite = netSuite(
  (devices) => NativeMachine.boot(start, true, { devices }),
  { bytes: 100_000_000, otherBytes: 10_000_000 },
  { queuePairs: 4, also: ['HASH_REPORT'] },
);

testFourPairs(suite);

test('the driver shows the statistics that the device keeps, and tells it which notifications to hold back', async () => {
  const { machine, device, name } = suite;
  const shown = await machine.text(
    `ethtool -S ${name} | grep -E ' (rx_hw_packets|tx_hw_packets|cq_hw_ok_num):'`,
  );
  const [received, sent, commands] = shown.split('\n').map((line) => Number(line.split(':')[1]));
  expect(received).toBeGreaterThan(0);
  expect(sent).toBeGreaterThan(0);
  expect(commands).toBeGreaterThan(0);
  expect(received).toBeLessThanOrEqual(
    device.received.reduce((sum, { packets }) => sum + Number(packets), 0),
  );
  await machine.text(`ethtool -C ${name} rx-usecs 2000 rx-frames 16 tx-usecs 1000 tx-frames 8`);
  expect(await machine.text(`ethtool -c ${name} | grep -E '^[rt]x-(usecs|frames):' | tr -s '\t ' ' '`)).toBe(
    'rx-usecs: 2000\nrx-frames: 16\ntx-usecs: 1000\ntx-frames: 8',
  );
  // Both settings are the device's to keep to: bytes still arrive.
  expect(await machine.text(`wget -q -O - ${suite.url}/bytes/3000000 | wc -c`)).toBe('3000000');
  expect(machine.errors).toEqual([]);
});

test('the driver tells the device when one queue notifies, and where hashes lead', async () => {
  const { machine, device, name } = suite;
  await machine.text(`ethtool -C ${name} rx-usecs 2000 rx-frames 16 tx-usecs 1000 tx-frames 4`);
  await machine.text(`ethtool -Q ${name} queue_mask 0x2 --coalesce rx-usecs 3000 rx-frames 12`);
  const [rx, tx] = [
    [16, 2000],
    [4, 1000],
  ];
  const queues = [rx, tx, [12, 3000], tx, rx, tx, rx, tx];
  expect(device.behaviour.save?.()).toMatchObject({ 6: { queues } });

  await machine.text(`ethtool -X ${name} equal 2; ethtool -K ${name} rxhash on`);
  const table = Array.from({ length: 128 }, (_, i) => i % 2);
  expect(device.behaviour.save?.()).toMatchObject({ 4: { rss: { table } } });
  const before = device.received.map(({ packets }) => packets);
  await machine.text(
    `for i in 1 2 3 4 5 6 7 8; do wget -q -O - ${suite.url}/bytes/100000 >/dev/null & done; wait`,
  );
  const now = device.received.map(({ packets }, i) => packets - before[i]!);
  expect(now[0]! + now[1]!).toBeGreaterThan(8);
  expect(now.slice(2)).toEqual([0, 0]);
  // Linux was refused nothing that it asked for.
  const statistics = await machine.text(`ethtool -S ${name}`);
  const counted = (of: string): number => Number(new RegExp(` ${of}: (\\d+)`).exec(statistics)?.[1]);
  expect(counted('cq_hw_command_num')).toBeGreaterThan(1);
  expect(counted('cq_hw_ok_num')).toBe(counted('cq_hw_command_num'));
  expect(machine.errors).toEqual([]);
});

// Behind the others: it takes the first device's link.
test('what our device encrypts the guest decrypts, and the other way round', async () => {
  const { machine, device, name } = suite;
  await talksToLinux(machine, device, name);
  expect(machine.errors).toEqual([]);
});
