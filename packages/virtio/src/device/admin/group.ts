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
}

/** A device whose owner can stop it, read its parts, and set them. */
export interface GroupMember {
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
