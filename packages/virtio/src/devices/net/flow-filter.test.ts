import { describe, expect, it } from 'vitest';
import { administer } from '../../device/admin/administer.ts';
import { openAdmin } from '../../driver/admin/index.ts';
import { open } from '../../driver/open.ts';
import { defaultAcceptedFeatures } from '../../driver/options.ts';
import { put16 } from '../../link/bytes.ts';
import { finished } from '../../link/offload.ts';
import { type PacketOptions, packet } from '../../link/packets.fixture.ts';
import { joined } from '../../spec/joined.ts';
import { connectPci } from '../../transports/pci/connect.ts';
import { netDevice } from './device.ts';
import { openFlowFilters } from './driver-flow-filter.ts';
import { type FlowFilterLimits, flowFilters } from './flow-filter.ts';
import { Far, frameOf, pairsOf } from './raw-guest.fixture.ts';
import { net } from './spec.ts';
import { flowAction, flowSelector } from './spec-flow-filter.ts';
import {
  encodeSelectors,
  type FlowSelector,
  flowActionCapability,
  flowClassifierKind,
  flowGroupKind,
  flowResourceCapability,
  flowRuleKind,
  flowSelectorCapability,
} from './spec-flow-kinds.ts';
import type { FrameFilter } from './steering.ts';

const { ETH, IPV4, IPV6, TCP, UDP, ESP } = flowSelector;

async function opened(limits: Partial<FlowFilterLimits> = {}) {
  let filter: FrameFilter | undefined;
  const lend = flowFilters(limits);
  const device = netDevice({
    queuePairs: 4,
    flowFilters: (pairs) => {
      filter = lend(pairs);
      return filter;
    },
  });
  const far = new Far(device.endpoint);
  const { transport } = await connectPci(administer(device, { groups: [] }));
  const opened = await open(transport, net, {
    features: ['CTRL_VQ', 'MQ'],
    reserved: [...defaultAcceptedFeatures, 'ADMIN_VQ'],
    queues: pairsOf(4),
  });
  for (let number = 0; number < 4; number++) {
    for (let i = 0; i < 8; i++) {
      opened
        .queue('receiveq', number)
        .request(new Uint8Array(), 2048)
        .catch(() => undefined);
    }
  }
  await opened.queue('controlq').request(Uint8Array.of(4, 0, 4, 0), 1);
  const admin = await openAdmin(opened);
  /** The queue that a frame goes to; −1 when it is dropped. */
  const where = (frame: Uint8Array): number => {
    const before = device.received.map(({ packets }) => packets);
    far.device.receive(frame, finished);
    return device.received.findIndex(({ packets }, i) => packets > before[i]!);
  };
  return { device, filter, opened, admin, where };
}

const selector = (
  type: number,
  length: number,
  bits: Readonly<Record<number, number>> = {},
): FlowSelector => {
  const mask = new Uint8Array(length);
  for (const [at, byte] of Object.entries(bits)) mask[Number(at)] = byte;
  return { type, flags: 0, mask };
};

const eth = (bits: Readonly<Record<number, number>> = {}): FlowSelector => selector(ETH, 14, bits);
const typed = eth({ 12: 0xff, 13: 0xff });
const key = (length: number, bits: Readonly<Record<number, number>> = {}): Uint8Array =>
  selector(0, length, bits).mask;

const payload = new Uint8Array(40);
const frameFor = (options: Partial<PacketOptions>): Uint8Array =>
  packet({ version: 4, protocol: 'tcp', payload, ...options }).frame;

describe('flow filters', () => {
  // @holds 5.1.9.6.4 device: Device Types / Network Device / Device Operation / Flow filter
  it('put frames where their rules say, the highest group and the highest priority first', async () => {
    const { admin, where } = await opened();
    const filters = await openFlowFilters(admin);
    const low = await filters.createGroup(4);
    const high = await filters.createGroup(5);
    const v4 = await filters.createClassifier([typed, selector(IPV4, 20)]);
    const tcp = await filters.createClassifier([
      typed,
      selector(IPV4, 20, { 9: 0xff }),
      selector(TCP, 20, { 2: 0xff, 3: 0xff }),
    ]);
    const frame = frameFor({});
    const isV4 = [key(14, { 12: 0x08 }), key(20)];
    const one = await filters.createRule({ group: low, classifier: v4, priority: 9, keys: isV4, queue: 1 });
    expect(where(frame)).toBe(1);
    const two = await filters.createRule({ group: low, classifier: v4, priority: 10, keys: isV4, queue: 2 });
    expect(where(frame)).toBe(2);
    const port53 = [key(14, { 12: 0x08 }), key(20, { 9: 6 }), key(20, { 3: 53 })];
    const three = await filters.createRule({
      group: high,
      classifier: tcp,
      priority: 0,
      keys: port53,
      queue: 3,
    });
    expect(where(frame)).toBe(3);
    expect(where(frameFor({ protocol: 'udp' }))).toBe(2);
    const other = frameFor({});
    put16(other, 14 + 20 + 2, 54);
    expect(where(other)).toBe(2);
    // What no rule is for is steered.
    expect([0, 1, 2, 3]).toContain(where(frameFor({ version: 6 })));
    await three.destroy();
    await two.destroy();
    expect(where(frame)).toBe(1);
    await one.destroy();
    expect(where(frame)).toBeGreaterThanOrEqual(0);
  });

  // @holds 5.1.9.6.4 device: Device Types / Network Device / Device Operation / Flow filter
  it('drop frames, and those for a queue that is reset', async () => {
    const { device, admin, opened: guest, where } = await opened();
    const filters = await openFlowFilters(admin);
    const group = await filters.createGroup(1);
    const multicast = await filters.createClassifier([eth({ 0: 1 })]);
    const drop = await filters.createRule({
      group,
      classifier: multicast,
      priority: 1,
      keys: [key(14, { 0: 1 })],
    });
    expect(where(frameOf(60))).toBe(-1);
    expect(device.received[0]!.drops).toBe(1);
    expect(where(frameOf(60, 0, [2, 0, 0, 0, 0, 1]))).toBe(0);
    await drop.destroy();
    await filters.createRule({
      group,
      classifier: multicast,
      priority: 1,
      keys: [key(14, { 0: 1 })],
      queue: 2,
    });
    expect(where(frameOf(60))).toBe(2);
    await guest.resetQueue('receiveq', 2);
    expect(where(frameOf(60))).toBe(-1);
  });

  it('look through extension headers, and at bits of fields', async () => {
    const { admin, where } = await opened();
    const filters = await openFlowFilters(admin);
    const group = await filters.createGroup(1);
    const v6 = await filters.createClassifier([
      typed,
      selector(IPV6, 40, { 6: 0xff, 39: 0x0f }),
      selector(UDP, 8, { 1: 0x1f }),
    ]);
    // The last byte of the destination of `packet` is 0x3f, its source port 4000 = 0x0fa0.
    const keys = [key(14, { 12: 0x86, 13: 0xdd }), key(40, { 6: 17, 39: 0xff }), key(8, { 1: 0xe0 })];
    await filters.createRule({ group, classifier: v6, priority: 1, keys, queue: 3 });
    const udp6: Partial<PacketOptions> = { version: 6, protocol: 'udp' };
    expect(where(frameFor(udp6))).toBe(3);
    expect(where(frameFor({ ...udp6, ipOptions: 2 }))).toBe(3);
    const other = frameFor(udp6);
    put16(other, 14 + 40, 4001);
    expect(where(other)).not.toBe(3);
    expect(where(frameFor({ version: 6 }))).not.toBe(3);
    expect(where(frameFor(udp6).subarray(0, 56))).not.toBe(3);
  });

  // @holds 5.1.9.6.4 device: Device Types / Network Device / Device Operation / Flow filter
  it('need all three capabilities', async () => {
    const { admin } = await opened();
    expect(await admin.capabilities.ids()).toEqual(expect.arrayContaining([0x800, 0x801, 0x802]));
    const content = { value: { group_priority: 1 } };
    const limits = await admin.capabilities.get(flowResourceCapability);
    await admin.capabilities.set(flowResourceCapability, limits);
    await expect(admin.createObject(flowGroupKind, content)).rejects.toMatchObject({
      qualifier: 'INVALID_OPCODE',
    });
    const shown = await admin.capabilities.get(flowSelectorCapability, 999);
    await admin.capabilities.set(flowSelectorCapability, shown);
    await expect(admin.createObject(flowGroupKind, content)).rejects.toMatchObject({
      qualifier: 'INVALID_OPCODE',
    });
    await admin.capabilities.set(flowActionCapability, { count: 1, actions: [flowAction.DROP] });
    await admin.createObject(flowGroupKind, content);
  });

  it('take no capability beyond what the device shows', async () => {
    const { admin } = await opened();
    const actions = { count: 2, actions: [flowAction.DROP, flowAction.IPSEC] };
    await expect(admin.capabilities.set(flowActionCapability, actions)).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    const wrong = encodeSelectors([{ type: 9, flags: 0, mask: new Uint8Array(14) }]);
    const selectors = { count: 1, selectors: [...wrong] };
    await expect(admin.capabilities.set(flowSelectorCapability, selectors)).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });

  // @holds 5.1.9.6.4 device: Device Types / Network Device / Device Operation / Flow filter
  it('refuse groups of one priority, and those that are in use', async () => {
    const { admin } = await opened({ groups: 2 });
    const filters = await openFlowFilters(admin);
    const group = await filters.createGroup(7);
    await expect(filters.createGroup(7)).rejects.toMatchObject({ status: 'EINVAL' });
    await filters.createGroup(8);
    const classifier = await filters.createClassifier([eth()]);
    const rule = { group, classifier, priority: 1, keys: [key(14)], queue: 0 };
    await filters.createRule(rule);
    const destroy = { name: 'RESOURCE_OBJ_DESTROY' as const, memberId: 0 };
    for (const kind of [flowGroupKind, flowClassifierKind]) {
      const data = Uint8Array.of(kind.type & 0xff, kind.type >> 8, 0, 0, 0, 0, 0, 0);
      await expect(admin.self.send({ ...destroy, data })).rejects.toMatchObject({ status: 'EBUSY' });
    }
    await expect(admin.capabilities.set(flowActionCapability, { count: 0 })).rejects.toMatchObject({
      status: 'EBUSY',
    });
  });

  it.each([
    ['no selector', []],
    ['one that is not of Ethernet first', [selector(IPV4, 20)]],
    ['Ethernet twice', [typed, eth()]],
    ['a type that is not known', [typed, selector(7, 14)]],
    ['a mask of another length', [selector(ETH, 13)]],
    ['a network whose type is not looked at', [eth(), selector(IPV4, 20)]],
    ['a transport whose protocol is not looked at', [typed, selector(IPV4, 20), selector(TCP, 20)]],
    [
      'a transport behind IPv6 whose protocol is not',
      [typed, selector(IPV6, 40, { 9: 0xff }), selector(UDP, 8)],
    ],
    ['a transport behind Ethernet', [typed, selector(UDP, 8)]],
    ['a network behind a network', [typed, selector(IPV4, 20, { 9: 0xff }), selector(IPV6, 40)]],
    ['four', [typed, selector(IPV4, 20, { 9: 0xff }), selector(UDP, 8), selector(ESP, 8)]],
  ] satisfies [string, FlowSelector[]][])('refuse a classifier with %s', async (_, selectors) => {
    const { admin } = await opened();
    const filters = await openFlowFilters(admin);
    const content = { value: { count: selectors.length }, tail: encodeSelectors(selectors) };
    await expect(admin.createObject(flowClassifierKind, content)).rejects.toMatchObject({ status: 'EINVAL' });
    await expect(filters.createClassifier(selectors)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  // @holds 5.1.9.6.4 device: Device Types / Network Device / Device Operation / Flow filter
  it('refuse rules that cannot be', async () => {
    const { admin, where } = await opened({ rules: 4 });
    const filters = await openFlowFilters(admin);
    const group = await filters.createGroup(1);
    const classifier = await filters.createClassifier([typed, selector(IPV4, 20)]);
    const value = {
      group_id: group.id,
      classifier_id: classifier.id,
      rule_priority: 1,
      key_length: 34,
      action: flowAction.DIRECT_RX_VQ,
      vq_index: 4,
    };
    const tail = joined(key(14, { 12: 8 }), key(20));
    const bad = [
      { value: { ...value, vq_index: 5 } },
      { value: { ...value, vq_index: 8 } },
      { value: { ...value, action: 0 } },
      { value: { ...value, action: flowAction.IPSEC } },
      { value: { ...value, rule_priority: 255 } },
      { value: { ...value, key_length: 33 } },
      { value: { ...value, key_length: 35 }, tail: joined(tail, Uint8Array.of(0)) },
      { value, tail: tail.subarray(8) },
    ];
    for (const content of bad) {
      await expect(admin.createObject(flowRuleKind, { tail, ...content })).rejects.toMatchObject({
        status: 'EINVAL',
      });
    }
    for (const missing of [{ group_id: 9 }, { classifier_id: 9 }]) {
      const content = { value: { ...value, ...missing }, tail };
      await expect(admin.createObject(flowRuleKind, content)).rejects.toMatchObject({ status: 'ENXIO' });
    }
    const rule = await admin.createObject(flowRuleKind, { value, tail });
    expect(where(frameFor({}))).toBe(2);
    await rule.modify({ value: { ...value, vq_index: 2 }, tail });
    expect(where(frameFor({}))).toBe(1);
    expect(await rule.query(34)).toMatchObject({ value: { vq_index: 2 }, tail });
  });

  // @holds 5.1.9.6.5 driver: Device Types / Network Device / Device Operation / Flow filter
  it('are made by a driver as they are to be', async () => {
    const { admin } = await opened();
    const content = { value: { group_priority: 1 } };
    await expect(admin.createObject(flowGroupKind, content)).rejects.toMatchObject({ code: 'BAD_STATE' });
    const filters = await openFlowFilters(admin);
    const group = await filters.createGroup(1);
    const classifier = await filters.createClassifier([
      typed,
      selector(IPV6, 40, { 6: 0xff }),
      selector(ESP, 8, { 0: 0xff }),
    ]);
    const keys = [key(14, { 12: 0x86, 13: 0xdd }), key(40, { 6: 50 }), key(8)];
    const rule = { group, classifier, priority: 1, keys, queue: 0 };
    const bad = [
      { ...rule, keys: keys.slice(1) },
      { ...rule, keys: [key(14, { 12: 0x08 }), ...keys.slice(1)] },
      { ...rule, keys: [keys[0]!, key(40, { 6: 17 }), key(8)] },
      { ...rule, keys: [...keys.slice(0, 2), key(7)] },
      { ...rule, priority: 255 },
      { ...rule, priority: -1 },
    ];
    for (const one of bad)
      await expect(filters.createRule(one)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const made = await filters.createRule(rule);
    for (const needed of [group, classifier]) {
      await expect(needed.destroy()).rejects.toMatchObject({ code: 'BAD_STATE' });
    }
    await made.destroy();
    await group.destroy();
    await classifier.destroy();
  });

  it('are gone with a reset', async () => {
    const { filter, admin, opened: guest, where } = await opened();
    const filters = await openFlowFilters(admin);
    const group = await filters.createGroup(1);
    const classifier = await filters.createClassifier([eth()]);
    await filters.createRule({ group, classifier, priority: 1, keys: [key(14)] });
    expect(where(frameOf(60))).toBe(-1);
    await guest.close();
    expect(filter?.active).toBe(false);
  });
});
