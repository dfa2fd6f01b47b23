import { capability } from '../../device/admin/capabilities.ts';
import { AdminRefusal, busy, invalidField } from '../../device/admin/refusal.ts';
import type { DeviceResources, ResourceObjectType } from '../../device/admin/resource-object.ts';
import { networkOffset, PacketHeaders } from '../../link/headers.ts';
import { flowAction, flowSelector, flowSelectorFlag, virtio_net_ff_cap_data } from './spec-flow-filter.ts';
import {
  areInOrder,
  decodeSelectors,
  encodeSelectors,
  type FlowSelector,
  flowActionCapability,
  flowClassifierKind,
  flowGroupKind,
  flowResourceCapability,
  flowRuleKind,
  flowSelectorCapability,
  isWithin,
  selectedProtocol,
  selectorLengths,
} from './spec-flow-kinds.ts';
import { type FrameFilter, noQueue, noRule, throughIpsec, throughIpsecAgain } from './steering.ts';

/** How many flow filters a driver may have. */
export interface FlowFilterLimits {
  /** Groups of rules. */
  readonly groups: number;
  readonly classifiers: number;
  readonly rules: number;
}

const { ETH, IPV4, IPV6 } = flowSelector;

/** Selectors of a classifier: Ethernet, the network, the transport. */
const mostSelectors = 3;

/** Rules have priorities below this one. */
const lastPriority = 255;

/** Bytes of all masks: no classifier and no rule has more. */
const mostTail = 255;

/** What a rule compares, header by header. */
interface Compared {
  readonly type: number;
  readonly mask: Uint8Array;
  /** Only bits of the mask. */
  readonly key: Uint8Array;
}

interface Rule {
  readonly group: number;
  readonly priority: number;
  /** Where its frames go. */
  readonly queue: number;
  readonly compared: readonly Compared[];
}

/**
 * Rules that drop frames or put them into a queue, by what is in their headers. The driver makes them through the
 * administration queue of a device that is given to `administer`.
 *
 * @spec 5.1.9.6.4 device: Device Types / Network Device / Device Operation / Flow filter
 */
export class FlowFilter implements FrameFilter {
  readonly resources: DeviceResources;
  readonly #pairs: number;
  readonly #groups = new Map<number, number>();
  readonly #classifiers = new Map<number, readonly FlowSelector[]>();
  readonly #rules = new Map<number, Rule>();
  /** Highest first. */
  #ordered: readonly Rule[] = [];
  /** What the driver uses of the capabilities; absent until it says so. */
  #selectors: readonly FlowSelector[] | undefined;
  #actions: readonly number[] | undefined;
  #limits: DataView | undefined;
  readonly #headers = new PacketHeaders();

  /** For a device with so many pairs of queues, that has IPsec or has not. */
  constructor(limits: FlowFilterLimits, pairs: number, ipsec: boolean) {
    this.#pairs = pairs;
    const { DROP, DIRECT_RX_VQ, IPSEC, IPSEC_RECIRCULATE } = flowAction;
    const actions = [DROP, DIRECT_RX_VQ, ...(ipsec ? [IPSEC, IPSEC_RECIRCULATE] : [])];
    const selectors = [...selectorLengths].map(([type, length]) => ({
      type,
      flags: flowSelectorFlag.PARTIAL_MASK,
      mask: new Uint8Array(length).fill(0xff),
    }));
    this.resources = {
      capabilities: [
        capability(
          flowResourceCapability,
          {
            groups_limit: limits.groups,
            classifiers_limit: limits.classifiers,
            rules_limit: limits.rules,
            rules_per_group_limit: limits.rules,
            last_rule_priority: lastPriority,
            selectors_per_classifier_limit: mostSelectors,
          },
          (wanted) => {
            this.#limits = wanted && new DataView(wanted.buffer);
          },
        ),
        capability(
          flowSelectorCapability,
          { count: selectors.length, selectors: [...encodeSelectors(selectors)] },
          (wanted) => {
            if (wanted !== undefined && this.#classifiers.size > 0)
              throw busy('there are classifiers that use it');
            const { size, field } = flowSelectorCapability.layout;
            this.#selectors =
              wanted && decodeSelectors(wanted.subarray(size), field.count.get(new DataView(wanted.buffer)));
          },
        ),
        capability(flowActionCapability, { count: actions.length, actions }, (wanted) => {
          if (wanted !== undefined && this.#rules.size > 0) throw busy('there are rules that use it');
          const { size } = flowActionCapability.layout;
          this.#actions = wanted && [...wanted.subarray(size)].filter((action) => action !== 0);
        }),
      ],
      objects: [this.#groupType(), this.#classifierType(), this.#ruleType()],
    };
  }

  /** False when there are no rules. */
  get active(): boolean {
    return this.#rules.size > 0;
  }

  queueFor(frame: Uint8Array): number {
    const network = networkOffset(frame);
    const isIp = network >= 0 && this.#headers.read(frame, network);
    for (const rule of this.#ordered) {
      if (rule.compared.every((one) => this.#matches(frame, one, isIp))) return rule.queue;
    }
    return noRule;
  }

  #matches(frame: Uint8Array, { type, mask, key }: Compared, isIp: boolean): boolean {
    const { version, networkAt, transportAt, protocol, fragment } = this.#headers;
    let at = 0;
    if (type === IPV4 || type === IPV6) {
      if (!isIp || version !== (type === IPV4 ? 4 : 6)) return false;
      at = networkAt;
    } else if (type !== ETH) {
      if (!isIp || fragment || protocol !== selectedProtocol.get(type)) return false;
      at = transportAt;
    }
    if (at + mask.length > frame.length) return false;
    for (let i = 0; i < mask.length; i++) {
      // Extension headers are looked through: the field has what follows the last of them.
      const byte = type === IPV6 && i === 6 ? protocol : frame[at + i]!;
      if ((byte & mask[i]!) !== key[i]) return false;
    }
    return true;
  }

  #order(): void {
    const groupOf = (rule: Rule): number => this.#groups.get(rule.group) ?? 0;
    this.#ordered = [...this.#rules.values()].sort(
      (one, other) => groupOf(other) - groupOf(one) || other.priority - one.priority,
    );
  }

  /** @throws {AdminRefusal} EINVAL, INVALID_OPCODE until the driver has set all three capabilities. */
  readonly #permit = (): void => {
    if (this.#limits === undefined || this.#selectors === undefined || this.#actions === undefined) {
      throw new AdminRefusal(
        'EINVAL',
        'INVALID_OPCODE',
        'the driver has not enabled all capabilities of flow filters',
      );
    }
  };

  #groupType(): ResourceObjectType<(typeof flowGroupKind)['layout']['codecs']> {
    return {
      ...flowGroupKind,
      permit: this.#permit,
      apply: ({ id, value: { group_priority } }) => {
        for (const [other, priority] of this.#groups) {
          if (other !== id && priority === group_priority) {
            throw invalidField(`group ${other} has the priority ${priority}`);
          }
        }
        this.#groups.set(id, group_priority);
        this.#order();
      },
      destroyed: ({ id }) => void this.#groups.delete(id),
    };
  }

  #classifierType(): ResourceObjectType<(typeof flowClassifierKind)['layout']['codecs']> {
    return {
      ...flowClassifierKind,
      permit: this.#permit,
      mostTail,
      apply: ({ id, value, tail }) => {
        const most =
          this.#limits && virtio_net_ff_cap_data.field.selectors_per_classifier_limit.get(this.#limits);
        const selectors = decodeSelectors(tail, value.count);
        if (selectors === undefined || selectors.length === 0 || selectors.length > (most ?? 0)) {
          throw invalidField('a classifier has one to three selectors, each as long as its header');
        }
        if (!selectors.every((one) => isWithin(one, this.#selectors ?? []))) {
          throw invalidField('a classifier looks at what is not among the selectors that the driver uses');
        }
        if (!areInOrder(selectors)) throw invalidField('the selectors do not follow from one another');
        this.#classifiers.set(id, selectors);
      },
      destroyed: ({ id }) => void this.#classifiers.delete(id),
    };
  }

  #ruleType(): ResourceObjectType<(typeof flowRuleKind)['layout']['codecs']> {
    return {
      ...flowRuleKind,
      permit: this.#permit,
      mostTail,
      apply: ({ id, value, tail }) => {
        const { action, vq_index, rule_priority, key_length, group_id, classifier_id } = value;
        const selectors = this.#classifiers.get(classifier_id) ?? [];
        const length = selectors.reduce((sum, { mask }) => sum + mask.length, 0);
        if (key_length !== length || tail.length < length) {
          throw invalidField(`the keys of classifier ${classifier_id} have ${length} bytes`);
        }
        const most = this.#limits && virtio_net_ff_cap_data.field.last_rule_priority.get(this.#limits);
        if (rule_priority >= (most ?? 0)) throw invalidField(`priorities are below ${most}`);
        if (this.#actions?.includes(action) !== true)
          throw invalidField(`the driver does not use action ${action}`);
        const isDirected = action === flowAction.DIRECT_RX_VQ;
        if (isDirected && (vq_index % 2 !== 0 || vq_index >= 2 * this.#pairs)) {
          throw invalidField(`virtqueue ${vq_index} is no receive queue`);
        }
        this.#rules.set(id, {
          group: group_id,
          priority: rule_priority,
          queue: isDirected ? vq_index >>> 1 : (undirected[action] ?? noQueue),
          compared: comparedOf(selectors, tail),
        });
        this.#order();
      },
      destroyed: ({ id }) => {
        this.#rules.delete(id);
        this.#order();
      },
    };
  }
}

/**
 * Lends flow filters to a device, for its option of that name: whoever has none carries no code of theirs. The device is
 * to be given to `administer`.
 *
 * @example
 * administer(netDevice({ queuePairs: 4, flowFilters: flowFilters() }), { groups: [] });
 */
export function flowFilters(
  limits: Partial<FlowFilterLimits> = {},
): (pairs: number, ipsec?: boolean) => FrameFilter {
  const { groups = 16, classifiers = 16, rules = 256 } = limits;
  return (pairs, ipsec = false) => new FlowFilter({ groups, classifiers, rules }, pairs, ipsec);
}

/** Where frames go whose rule names no queue. */
const undirected: Readonly<Record<number, number>> = {
  [flowAction.DROP]: noQueue,
  [flowAction.IPSEC]: throughIpsec,
  [flowAction.IPSEC_RECIRCULATE]: throughIpsecAgain,
};

/** Each selector with its own part of the keys. */
function comparedOf(selectors: readonly FlowSelector[], keys: Uint8Array): Compared[] {
  let at = 0;
  return selectors.map(({ type, mask }) => {
    const key = mask.map((bits, i) => bits & keys[at + i]!);
    at += mask.length;
    return { type, mask, key };
  });
}
