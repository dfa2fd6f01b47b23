import type { DevicePart } from './device-part.ts';

/**
 * A group of devices that one owner controls (2.12). The self group needs no such object: every owner is the
 * one member of its own.
 */
export interface DeviceGroup {
  /** The group type identifier; not 0, which is the self group's. */
  readonly type: number;
  /** False while the group does not exist, as while VF Enable is clear; it has no commands then. */
  readonly exists: boolean;
  /** The member of an identifier, whose object stays the same while it is a member. */
  member(id: number): GroupMember | undefined;
  /** True where every member has a legacy interface. */
  readonly legacy?: boolean;
}

/** Fields that a legacy driver reads and writes, at offsets in bytes. All numbers in them are little-endian. */
export interface LegacyFields {
  /** True when the bytes lie within one field. */
  holds(offset: number, length: number): boolean;
  read(offset: number, length: number): Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
}

/** The legacy interface of a member, which its owner alone reaches. */
export interface MemberLegacy {
  readonly common: LegacyFields;
  /** The device's own configuration. */
  readonly config: LegacyFields;
  /** Where else the driver may notify queues: the result of LEGACY_NOTIFY_INFO. */
  notifyInfo(): Uint8Array;
}

/** A device whose owner can stop it, read its parts, and set them. */
export interface GroupMember {
  readonly legacy?: MemberLegacy | undefined;
  /** All its parts as they are now, in the order of 2.12.1.4.4. */
  parts(): readonly DevicePart[];
  readonly stopped: boolean;
  /** Stops it; settles when all is done that it had begun. It may be stopped already. */
  stop(): Promise<void>;
  /**
   * Takes parts that it has, of lengths that fit, to go on with when it is resumed: all of them or none.
   *
   * @throws {AdminRefusal} when a value cannot be.
   */
  setParts(parts: readonly DevicePart[]): void;
  /**
   * Goes on, with the parts that were set. It need not be stopped.
   *
   * @throws {AdminRefusal} when the parts that were set do not make a device; it stays stopped as it was.
   */
  resume(): void;
}
