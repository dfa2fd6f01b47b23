import { UsageError } from '../../errors.ts';
import {
  type AdminQualifierName,
  type AdminStatusName,
  adminQualifier,
  adminStatus,
  groupType,
  virtio_admin_cmd,
  virtio_admin_cmd_answer,
} from '../../spec/admin.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import type { ActiveQueue, QueuePlace } from '../active-queue.ts';
import type { Administration } from '../administration.ts';
import type { Json, ServeHandler } from '../device.ts';
import type { AdminCall, AdminCommands, AdminResult } from './call.ts';
import { Capabilities, type Capability } from './capabilities.ts';
import { capabilityCommands } from './capability-commands.ts';
import { CommandData } from './command-data.ts';
import type { DeviceGroup } from './group.ts';
import { legacyCommands } from './legacy-commands.ts';
import { objectCommands } from './object-commands.ts';
import { partsCommands } from './parts-commands.ts';
import { AdminRefusal } from './refusal.ts';
import type { ResourceObjectType } from './resource-object.ts';
import { ResourceObjects } from './resource-objects.ts';
import { readState, writeState } from './saved.ts';
import { ServedGroup } from './served-group.ts';

const headerSize = virtio_admin_cmd_answer.size;

/** What an {@link AdminServer} is made of. */
export interface AdminServerParts {
  readonly queues: { readonly count: number; readonly size: number };
  readonly groups: readonly DeviceGroup[];
  readonly capabilities: readonly Capability[];
  readonly objects: readonly ResourceObjectType[];
}

/**
 * Answers group administration commands for an owner device. Whatever a driver sends is answered: a command
 * that cannot be carried out with its status and qualifier, and without an effect.
 *
 * @spec 2.12.1.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands
 * @spec 2.13.1 device: Basic Facilities of a Virtio Device / Administration virtqueues
 */
export class AdminServer implements Administration {
  readonly queues: readonly number[];
  readonly #groups = new Map<number, ServedGroup>();
  readonly #capabilities: Capabilities;
  readonly #objects: ResourceObjects;
  /** The commands of a queue that take their time; those behind them wait. */
  readonly #running = new WeakMap<ActiveQueue, Promise<void>>();

  /** @throws {UsageError} BAD_ARGUMENT for parts that contradict one another. */
  constructor(parts: AdminServerParts) {
    this.queues = Array.from({ length: parts.queues.count }, () => parts.queues.size);
    this.#capabilities = new Capabilities(parts.capabilities);
    this.#objects = new ResourceObjects(
      parts.objects,
      this.#capabilities,
      ({ groupType: type, memberId, member }) => this.#groups.get(type)?.isMember(memberId, member) === true,
    );
    this.#serveGroup(groupType.SELF, undefined);
    for (const group of parts.groups) this.#serveGroup(group.type, group);
  }

  place(number: number): QueuePlace | undefined {
    if (!(number in this.queues)) return undefined;
    return { number, label: `adminq${number + 1}`, serve: this.#serve };
  }

  /** Commands of one queue are carried out one behind the other. */
  readonly #serve: ServeHandler = (chain, queue) => {
    const before = this.#running.get(queue);
    const answered =
      before === undefined
        ? this.#answer(chain)
        : before.then(() => (queue.live ? this.#answer(chain) : undefined));
    if (answered === undefined) return undefined;
    const done = answered
      .catch(() => {})
      .then(() => {
        if (this.#running.get(queue) === done) this.#running.delete(queue);
      });
    this.#running.set(queue, done);
    return answered;
  };

  reset(): void {
    this.#objects.reset();
    this.#capabilities.reset();
    for (const group of this.#groups.values()) group.reset();
  }

  save(): Json {
    return writeState({
      used: [...this.#groups.values()].map(({ type, used }) => ({ type, used })),
      capabilities: this.#capabilities.entries(),
      objects: this.#objects.entries(),
    });
  }

  restore(saved: Json): void {
    this.reset();
    if (saved === null) return;
    const state = readState(saved);
    try {
      for (const { type, used } of state.used) this.#groups.get(type)?.restore(used);
      for (const [id, value] of state.capabilities) {
        if (value.length !== this.#capabilities.get(id).value.length)
          throw new RangeError(`capability ${id}`);
        this.#capabilities.check(id, value);
        this.#capabilities.set(id, value);
      }
      for (const { type, id, groupType: group, memberId, flags, bytes } of state.objects) {
        const member = this.#groups.get(group)?.member(BigInt(memberId));
        this.#objects.create({ groupType: group, memberId, member }, { type, id }, { flags, bytes });
      }
    } catch (error) {
      throw new UsageError('BAD_STATE', `the saved state is of another administration: ${String(error)}`);
    }
  }

  #serveGroup(type: number, group: DeviceGroup | undefined): void {
    if (this.#groups.has(type)) throw new UsageError('BAD_ARGUMENT', `two groups are of type ${type}`);
    const commands: AdminCommands = {
      ...(type === groupType.SELF && this.#capabilities.ids.length > 0
        ? capabilityCommands(this.#capabilities, this.#objects)
        : {}),
      ...(this.#objects.servesGroup(type) ? objectCommands(this.#objects) : {}),
      ...(type === groupType.SR_IOV ? partsCommands(this.#objects) : {}),
      ...(group?.legacy === true ? legacyCommands() : {}),
    };
    this.#groups.set(type, new ServedGroup(type, group, commands));
  }

  #answer(chain: Chain): void | Promise<void> {
    try {
      const result = this.#carryOut(chain);
      if (!(result instanceof Promise)) return succeed(chain, result);
      return result.then(
        (value) => succeed(chain, value),
        (error: unknown) => refuse(chain, error),
      );
    } catch (error) {
      return refuse(chain, error);
    }
  }

  #carryOut(chain: Chain): AdminResult | Promise<AdminResult> {
    const data = new CommandData(chain.readable);
    const { opcode, group_type, group_member_id } = data.struct(virtio_admin_cmd);
    const group = this.#groups.get(group_type);
    if (group?.exists !== true) {
      throw new AdminRefusal('EINVAL', 'INVALID_GROUP', `there is no group of type ${group_type}`);
    }
    const command = group.command(opcode);
    const call: AdminCall = {
      groupType: group_type,
      memberId: Number(group_member_id),
      member: command.ignoresMember === true ? undefined : group.member(group_member_id),
      data,
      room: Math.max(0, chain.writable.length - headerSize),
    };
    return command.run(call);
  }
}

function succeed(chain: Chain, result: AdminResult): void {
  write(chain, 'OK', 'OK', result);
}

/** What is no refusal is a mistake of ours or of what lies beneath, and not for the driver to hear. */
function refuse(chain: Chain, error: unknown): void {
  if (!(error instanceof AdminRefusal)) throw error;
  write(chain, error.status, error.qualifier, undefined);
}

/** As much of the answer as the driver left room for; it fills whole 64-bit words. */
function write(
  chain: Chain,
  status: AdminStatusName,
  qualifier: AdminQualifierName,
  result: AdminResult,
): void {
  // The queue may have been reset while the command was carried out.
  if (!chain.live) return;
  const bytes = new Uint8Array(headerSize + Math.ceil((result?.length ?? 0) / 8) * 8);
  virtio_admin_cmd_answer.write(new DataView(bytes.buffer), 0, {
    status: adminStatus[status],
    status_qualifier: adminQualifier[qualifier],
  });
  if (result !== undefined) bytes.set(result, headerSize);
  chain.writable.write(bytes);
}
