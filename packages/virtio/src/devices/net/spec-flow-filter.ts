import { bytes, le16, le32, type Struct, struct, tail, u8 } from '../../spec/layout.ts';

/** Capabilities of a network device (2.12.1.2). */
export const netCapability = Object.freeze({
  FF_RESOURCE: 0x800,
  FF_SELECTOR: 0x801,
  FF_ACTION: 0x802,
  IPSEC_RESOURCE: 0x803,
  IPSEC_SA: 0x804,
} as const);

/** Types of its resource objects (2.12.1.3). */
export const netResource = Object.freeze({
  FF_GROUP: 0x200,
  FF_CLASSIFIER: 0x201,
  FF_RULE: 0x202,
  IPSEC_OUTB_SA: 0x203,
  IPSEC_INB_SA: 0x204,
} as const);

/** Types of a selector: the header that it matches, and its bytes. */
export const flowSelector = Object.freeze({ ETH: 1, IPV4: 2, IPV6: 3, TCP: 4, UDP: 5, ESP: 6 } as const);

/** Bytes of each selector's header. */
export const flowSelectorLength = Object.freeze({
  ETH: 14,
  IPV4: 20,
  IPV6: 40,
  TCP: 20,
  UDP: 8,
  ESP: 8,
} as const);

/** Bits of a selector's `flags`. */
export const flowSelectorFlag = Object.freeze({ PARTIAL_MASK: 1 << 0 } as const);

/** What is done with a frame that a rule matches. */
export const flowAction = Object.freeze({
  DROP: 1,
  DIRECT_RX_VQ: 2,
  IPSEC: 3,
  IPSEC_RECIRCULATE: 4,
} as const);

const limitsFields = {
  groups_limit: le32,
  classifiers_limit: le32,
  rules_limit: le32,
  rules_per_group_limit: le32,
  last_rule_priority: u8,
  selectors_per_classifier_limit: u8,
  reserved: bytes(2),
} as const;

/** The capability FF_RESOURCE. */
export const virtio_net_ff_cap_data: Struct<typeof limitsFields> = struct(
  'virtio_net_ff_cap_data',
  limitsFields,
);

const selectorFields = {
  /** One of {@link flowSelector}. */
  type: u8,
  flags: u8,
  reserved: bytes(2),
  /** Bytes of the mask, which follows. */
  length: u8,
  reserved1: bytes(3),
  mask: tail(u8),
} as const;

/** A header that can be matched, and which bits of it. */
export const virtio_net_ff_selector: Struct<typeof selectorFields> = struct(
  'virtio_net_ff_selector',
  selectorFields,
);

const countedFields = {
  count: u8,
  reserved: bytes(7),
  /** Each {@link virtio_net_ff_selector} as long as it says. */
  selectors: tail(u8),
} as const;

/** The capability FF_SELECTOR. */
export const virtio_net_ff_cap_mask_data: Struct<typeof countedFields> = struct(
  'virtio_net_ff_cap_mask_data',
  countedFields,
);

const actionsFields = { count: u8, reserved: bytes(7), actions: tail(u8) } as const;

/** The capability FF_ACTION. */
export const virtio_net_ff_actions: Struct<typeof actionsFields> = struct(
  'virtio_net_ff_actions',
  actionsFields,
);

const groupFields = { group_priority: le16 } as const;

/** A group of rules. */
export const virtio_net_resource_obj_ff_group: Struct<typeof groupFields> = struct(
  'virtio_net_resource_obj_ff_group',
  groupFields,
);

/** What the rules that refer to it look at. */
export const virtio_net_resource_obj_ff_classifier: Struct<typeof countedFields> = struct(
  'virtio_net_resource_obj_ff_classifier',
  countedFields,
);

const ruleFields = {
  group_id: le32,
  classifier_id: le32,
  rule_priority: u8,
  /** Bytes of all keys. */
  key_length: u8,
  /** One of {@link flowAction}. */
  action: u8,
  reserved: u8,
  /** For DIRECT_RX_VQ. */
  vq_index: le16,
  reserved1: bytes(2),
  /** One for each selector of the classifier, as long as its mask. */
  keys: tail(u8),
} as const;

/** A rule: which frames, and what is done with them. */
export const virtio_net_resource_obj_ff_rule: Struct<typeof ruleFields> = struct(
  'virtio_net_resource_obj_ff_rule',
  ruleFields,
);
