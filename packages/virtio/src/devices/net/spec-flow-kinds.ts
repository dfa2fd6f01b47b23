import { get16 } from '../../link/bytes.ts';
import { etherType, ipProtocol } from '../../link/numbers.ts';
import type { CapabilityType } from '../../spec/capability.ts';
import type { ResourceObjectKind } from '../../spec/resource-object.ts';
import {
  flowSelector,
  flowSelectorLength,
  netCapability,
  netResource,
  virtio_net_ff_actions,
  virtio_net_ff_cap_data,
  virtio_net_ff_cap_mask_data,
  virtio_net_ff_selector,
  virtio_net_resource_obj_ff_classifier,
  virtio_net_resource_obj_ff_group,
  virtio_net_resource_obj_ff_rule,
} from './spec-flow-filter.ts';

/** A header that is matched, and which bits of it. */
export interface FlowSelector {
  /** One of `flowSelector`. */
  readonly type: number;
  /** Bits of `flowSelectorFlag`. */
  readonly flags: number;
  /** As long as the header. */
  readonly mask: Uint8Array;
}

const headLength = virtio_net_ff_selector.size;

/** Bytes of each header, by the type of its selector. */
export const selectorLengths: ReadonlyMap<number, number> = new Map([
  [flowSelector.ETH, flowSelectorLength.ETH],
  [flowSelector.IPV4, flowSelectorLength.IPV4],
  [flowSelector.IPV6, flowSelectorLength.IPV6],
  [flowSelector.TCP, flowSelectorLength.TCP],
  [flowSelector.UDP, flowSelectorLength.UDP],
  [flowSelector.ESP, flowSelectorLength.ESP],
]);

/** Selectors one behind the other, as capability and classifier hold them. */
export function encodeSelectors(selectors: readonly FlowSelector[]): Uint8Array<ArrayBuffer> {
  const bytes = selectors.flatMap(({ type, flags, mask }) => [
    ...virtio_net_ff_selector.encode({ type, flags, length: mask.length, mask: [...mask] }),
  ]);
  return Uint8Array.from(bytes);
}

/** Reads so many selectors; `undefined` when one is cut short, or not as long as its header. */
export function decodeSelectors(bytes: Uint8Array, count: number): FlowSelector[] | undefined {
  const selectors: FlowSelector[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const [type, flags, length] = [bytes[at] ?? 0, bytes[at + 1] ?? 0, bytes[at + 4] ?? 0];
    if (length === 0 || selectorLengths.get(type) !== length) return undefined;
    if (at + headLength + length > bytes.length) return undefined;
    selectors.push({ type, flags, mask: bytes.slice(at + headLength, at + headLength + length) });
    at += headLength + length;
  }
  return selectors;
}

/** True when all bits of a selector's mask are in that of one of the others, of the same type. */
export function isWithin({ type, mask }: FlowSelector, others: readonly FlowSelector[]): boolean {
  const other = others.find((one) => one.type === type);
  return other?.mask.length === mask.length && mask.every((byte, i) => (byte & ~other.mask[i]!) === 0);
}

/** Headers follow from one another, and each says which is next. */
export function areInOrder([first, second, third, ...rest]: readonly FlowSelector[]): boolean {
  if (rest.length > 0) return false;
  if (first?.type !== flowSelector.ETH) return false;
  if (second === undefined) return true;
  if (
    get16(first.mask, 12) !== 0xffff ||
    (second.type !== flowSelector.IPV4 && second.type !== flowSelector.IPV6)
  )
    return false;
  if (third === undefined) return true;
  const next = second.mask[second.type === flowSelector.IPV4 ? 9 : 6];
  return (
    next === 0xff &&
    (third.type === flowSelector.TCP || third.type === flowSelector.UDP || third.type === flowSelector.ESP)
  );
}

/** The protocol of each transport that can be matched. */
export const selectedProtocol: ReadonlyMap<number, number> = new Map([
  [flowSelector.TCP, ipProtocol.TCP],
  [flowSelector.UDP, ipProtocol.UDP],
  [flowSelector.ESP, 50],
]);

/** True when keys are as long as the masks of their selectors, and say which header is next. */
export function keysFit(selectors: readonly FlowSelector[], keys: readonly Uint8Array[]): boolean {
  if (keys.length !== selectors.length) return false;
  if (!keys.every((key, i) => key.length === selectors[i]!.mask.length)) return false;
  const [eth, ip] = keys;
  const [, network, transport] = selectors;
  if (eth === undefined || network === undefined) return true;
  const isV4 = network.type === flowSelector.IPV4;
  if (get16(eth, 12) !== (isV4 ? etherType.IPV4 : etherType.IPV6)) return false;
  return transport === undefined || ip![isV4 ? 9 : 6] === selectedProtocol.get(transport.type);
}

const any = (): boolean => true;

/** How much of flow filters there may be: VIRTIO_NET_FF_RESOURCE_CAP. */
export const flowResourceCapability: CapabilityType<(typeof virtio_net_ff_cap_data)['codecs']> = {
  id: netCapability.FF_RESOURCE,
  layout: virtio_net_ff_cap_data,
  rules: {
    groups_limit: 'limit',
    classifiers_limit: 'limit',
    rules_limit: 'limit',
    rules_per_group_limit: 'limit',
    last_rule_priority: 'limit',
    selectors_per_classifier_limit: 'limit',
    reserved: any,
  },
};

/** Which headers can be matched: VIRTIO_NET_FF_SELECTOR_CAP. */
export const flowSelectorCapability: CapabilityType<(typeof virtio_net_ff_cap_mask_data)['codecs']> = {
  id: netCapability.FF_SELECTOR,
  layout: virtio_net_ff_cap_mask_data,
  rules: {
    count: 'limit',
    reserved: any,
    selectors: (wanted, offered) => {
      const all = listed(Uint8Array.from(offered));
      const some = listed(Uint8Array.from(wanted));
      return some !== undefined && all !== undefined && some.every((one) => isWithin(one, all));
    },
  },
};

/** What can be done with a frame: VIRTIO_NET_FF_ACTION_CAP. */
export const flowActionCapability: CapabilityType<(typeof virtio_net_ff_actions)['codecs']> = {
  id: netCapability.FF_ACTION,
  layout: virtio_net_ff_actions,
  rules: {
    count: 'limit',
    reserved: any,
    actions: (wanted, offered) => wanted.every((action) => action === 0 || offered.includes(action)),
  },
};

/** As many selectors as there are, up to zeroes. */
function listed(bytes: Uint8Array): FlowSelector[] | undefined {
  let count = 0;
  for (let at = 0; (bytes[at] ?? 0) !== 0; at += headLength + (bytes[at + 4] ?? 0)) count++;
  return decodeSelectors(bytes, count);
}

const limits = virtio_net_ff_cap_data.field;

/** Groups of rules: none has the priority of another. */
export const flowGroupKind: ResourceObjectKind<(typeof virtio_net_resource_obj_ff_group)['codecs']> = {
  type: netResource.FF_GROUP,
  name: 'flow filter group',
  layout: virtio_net_resource_obj_ff_group,
  capability: flowResourceCapability.id,
  limit: (capability) => limits.groups_limit.get(capability),
  // The specification bounds groups by both.
  fits: (capability, groups) =>
    groups.length <=
    Math.min(limits.groups_limit.get(capability), limits.rules_per_group_limit.get(capability)),
};

/** What rules look at. */
export const flowClassifierKind: ResourceObjectKind<
  (typeof virtio_net_resource_obj_ff_classifier)['codecs']
> = {
  type: netResource.FF_CLASSIFIER,
  name: 'flow filter classifier',
  layout: virtio_net_resource_obj_ff_classifier,
  capability: flowResourceCapability.id,
  limit: (capability) => limits.classifiers_limit.get(capability),
};

/** Which frames, and what is done with them. */
export const flowRuleKind: ResourceObjectKind<(typeof virtio_net_resource_obj_ff_rule)['codecs']> = {
  type: netResource.FF_RULE,
  name: 'flow filter rule',
  layout: virtio_net_resource_obj_ff_rule,
  capability: flowResourceCapability.id,
  limit: (capability) =>
    Math.min(limits.rules_limit.get(capability), limits.rules_per_group_limit.get(capability)),
  fits(capability, rules) {
    const most = limits.rules_per_group_limit.get(capability);
    const perGroup = new Map<number, number>();
    for (const { value } of rules) perGroup.set(value.group_id, (perGroup.get(value.group_id) ?? 0) + 1);
    return [...perGroup.values()].every((count) => count <= most);
  },
  dependsOn: ({ group_id, classifier_id }) => [
    { type: netResource.FF_GROUP, id: group_id },
    { type: netResource.FF_CLASSIFIER, id: classifier_id },
  ],
};
