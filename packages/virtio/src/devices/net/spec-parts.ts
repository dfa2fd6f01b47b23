import { bytes, type Struct, struct, u8 } from '../../spec/layout.ts';

/** Types of the parts that a network device's state travels in (2.12.1.4). */
export const netDevicePart = Object.freeze({
  /** What a command of the control queue has set. */
  CVQ_CFG: 0x200,
} as const);

const selectorFields = { class: u8, command: u8, reserved: bytes(6) } as const;

/** Which command a part of CVQ_CFG is of; its value is what the command takes. */
export const virtio_net_dev_part_cvq_selector: Struct<typeof selectorFields> = struct(
  'virtio_net_dev_part_cvq_selector',
  selectorFields,
);
