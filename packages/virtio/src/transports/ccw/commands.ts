/** Channel commands that every device knows (4.3.1). */
export const basicCommand = Object.freeze({
  NOP: 0x03,
  SENSE: 0x04,
  TIC: 0x08,
  SENSE_ID: 0xe4,
} as const);

/** Virtio's channel commands (4.3.1.1), without their prefix `CCW_CMD_`. */
export const virtioCommand = Object.freeze({
  SET_VQ: 0x13,
  VDEV_RESET: 0x33,
  SET_IND: 0x43,
  SET_CONF_IND: 0x53,
  SET_IND_ADAPTER: 0x73,
  READ_FEAT: 0x12,
  WRITE_FEAT: 0x11,
  READ_CONF: 0x22,
  WRITE_CONF: 0x21,
  WRITE_STATUS: 0x31,
  READ_VQ_CONF: 0x32,
  SET_VIRTIO_REV: 0x83,
  READ_STATUS: 0x72,
} as const);

export type BasicCommandName = keyof typeof basicCommand;
export type VirtioCommandName = keyof typeof virtioCommand;

/** All of them. */
export const channelCommand = Object.freeze({ ...basicCommand, ...virtioCommand } as const);
export type ChannelCommandName = BasicCommandName | VirtioCommandName;

/** The control unit type that makes a channel device a virtio one (4.3.1). */
export const virtioControlUnitType = 0x3832;

/** The type of the virtual channel path (4.3.1). */
export const virtioChannelPathType = 0x32;

const byCode = new Map<number, ChannelCommandName>();
for (const [name, code] of Object.entries(channelCommand)) {
  // The keys of the table are exactly these names.
  byCode.set(code, name as ChannelCommandName);
}

/** The name of a command by its code; `undefined` where virtio-ccw has none. */
export function commandName(code: number): ChannelCommandName | undefined {
  return byCode.get(code);
}

/** The revisions of virtio-ccw (4.3.2.1). */
export type Revision = 0 | 1 | 2;

/** The highest. */
export const latestRevision: Revision = 2;
