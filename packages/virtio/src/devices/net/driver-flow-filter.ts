import type { OpenAdmin, ResourceHandle } from '../../driver/admin/index.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { joined } from '../../spec/joined.ts';
import type { Fields, StructValue } from '../../spec/layout.ts';
import { flowAction, type virtio_net_ff_cap_data } from './spec-flow-filter.ts';
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
  keysFit,
} from './spec-flow-kinds.ts';

/** Bytes of selectors, and of actions, that a device shows at most. */
const mostTail = 4096;
const mostActions = 255;

/** A rule: which frames, and what is done with them. */
export interface FlowRule {
  readonly group: ResourceHandle<Fields>;
  readonly classifier: ResourceHandle<Fields>;
  /** Below `last_rule_priority`; higher ones are tried first. */
  readonly priority: number;
  /** One for each selector of the classifier, as long as its mask. */
  readonly keys: readonly Uint8Array[];
  /** The receive queue, from 0, that its frames go to; they are dropped when it is absent, and so is `ipsec`. */
  readonly queue?: number;
  /**
   * Has its frames decrypted: then they go to the first queue, or `again` where rules and steering say, which are applied to what
   * they became.
   */
  readonly ipsec?: 'once' | 'again';
}

/** Flow filters of an open network device: rules that drop frames, or put them into a queue. */
export class OpenFlowFilters {
  readonly limits: StructValue<(typeof virtio_net_ff_cap_data)['codecs']>;
  /** The headers that can be matched, and which bits of each. */
  readonly selectors: readonly FlowSelector[];
  /** What can be done with a frame: of `flowAction`. */
  readonly actions: readonly number[];
  readonly #admin: OpenAdmin;
  /** What the classifiers look at, by their ids. */
  readonly #classifiers = new Map<number, readonly FlowSelector[]>();

  /** @internal Use {@link openFlowFilters}. */
  constructor(
    admin: OpenAdmin,
    limits: OpenFlowFilters['limits'],
    selectors: readonly FlowSelector[],
    actions: readonly number[],
  ) {
    this.#admin = admin;
    this.limits = limits;
    this.selectors = selectors;
    this.actions = actions;
  }

  /** Makes a group of rules; no two have one priority, and those of a higher one are tried first. */
  createGroup(priority: number): Promise<ResourceHandle<Fields>> {
    return this.#create(flowGroupKind, { group_priority: priority });
  }

  /**
   * Makes a classifier: Ethernet, then perhaps the network, then perhaps the transport. Each mask but the last has all bits set
   * of what says which header is next.
   *
   * @throws {UsageError} BAD_ARGUMENT for selectors that do not follow from one another, or go beyond the device's.
   */
  async createClassifier(selectors: readonly FlowSelector[]): Promise<ResourceHandle<Fields>> {
    if (!areInOrder(selectors) || !selectors.every((one) => isWithin(one, this.selectors))) {
      throw new UsageError(
        'BAD_ARGUMENT',
        'net: a classifier is of Ethernet, then perhaps of IP with all bits of the type, then of a transport with all of the protocol',
      );
    }
    const made = await this.#create(
      flowClassifierKind,
      { count: selectors.length },
      encodeSelectors(selectors),
    );
    this.#classifiers.set(made.id, selectors);
    return made;
  }

  /** Makes a rule. Of two that match a frame, the one of the higher group counts, and in a group the one of the higher priority.
   *
   * @throws {UsageError} BAD_ARGUMENT for keys that do not fit the classifier, or a priority that is too high.
   */
  async createRule(rule: FlowRule): Promise<ResourceHandle<Fields>> {
    const { group, classifier, priority, keys, queue = 0 } = rule;
    const action = actionOf(rule);
    if (!this.actions.includes(action)) {
      throw new UsageError('BAD_ARGUMENT', `net: the device does not have the action ${action}`);
    }
    if (!keysFit(this.#classifiers.get(classifier.id) ?? [], keys)) {
      throw new UsageError(
        'BAD_ARGUMENT',
        'net: a rule has a key for each selector of its classifier, and each but the last says which header is next',
      );
    }
    if (!(priority >= 0 && priority < this.limits.last_rule_priority)) {
      throw new UsageError('BAD_ARGUMENT', `net: priorities are below ${this.limits.last_rule_priority}`);
    }
    const tail = joined(...keys);
    return this.#create(
      flowRuleKind,
      {
        group_id: group.id,
        classifier_id: classifier.id,
        rule_priority: priority,
        key_length: tail.length,
        action,
        vq_index: 2 * queue,
      },
      tail,
    );
  }

  async #create<F extends Fields>(
    kind: Parameters<OpenAdmin['createObject']>[0] & { readonly layout: { readonly codecs: F } },
    value: Partial<StructValue<F>>,
    tail?: Uint8Array,
  ): Promise<ResourceHandle<Fields>> {
    return this.#admin.createObject(kind, { value, ...(tail && { tail }) });
  }
}

/**
 * Opens the flow filters of a network device that has them: takes all that it can.
 *
 * @example
 * const filters = await openFlowFilters(await openAdmin(opened));
 *
 * @throws {AdminError} ENXIO when the device has none.
 * @throws {PeerError} BAD_RESPONSE when it shows selectors that are none.
 * @spec 5.1.9.6.5 driver: Device Types / Network Device / Device Operation / Flow filter
 */
export async function openFlowFilters(admin: OpenAdmin): Promise<OpenFlowFilters> {
  const { capabilities } = admin;
  const limits = await capabilities.get(flowResourceCapability);
  const shown = await capabilities.get(flowSelectorCapability, mostTail);
  const { count, actions } = await capabilities.get(flowActionCapability, mostActions);
  const selectors = decodeSelectors(Uint8Array.from(shown.selectors), shown.count);
  if (selectors === undefined) {
    throw new PeerError('BAD_RESPONSE', 'the network device shows selectors of flow filters that are none');
  }
  const usable = actions.slice(0, count).filter((action) => known.includes(action));
  await capabilities.set(flowResourceCapability, limits);
  await capabilities.set(flowSelectorCapability, {
    count: selectors.length,
    selectors: [...encodeSelectors(selectors)],
  });
  await capabilities.set(flowActionCapability, { count: usable.length, actions: usable });
  return new OpenFlowFilters(admin, limits, selectors, usable);
}

/** Actions that this driver gives to rules. */
const known: readonly number[] = Object.values(flowAction);

function actionOf({ queue, ipsec }: FlowRule): number {
  if (queue !== undefined && ipsec !== undefined) {
    throw new UsageError('BAD_ARGUMENT', 'net: a rule names a queue, or IPsec');
  }
  if (ipsec !== undefined) return ipsec === 'once' ? flowAction.IPSEC : flowAction.IPSEC_RECIRCULATE;
  return queue === undefined ? flowAction.DROP : flowAction.DIRECT_RX_VQ;
}
