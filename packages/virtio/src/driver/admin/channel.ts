import { PeerError } from '../../errors.ts';
import {
  type AdminCommandName,
  adminOpcode,
  virtio_admin_cmd,
  virtio_admin_cmd_answer,
} from '../../spec/admin.ts';
import { dataView } from '../../spec/data-view.ts';
import type { OpenQueue } from '../queue.ts';
import { AdminError, adminError } from './error.ts';

/** A command as a driver sends it. */
export interface SentCommand {
  readonly name: AdminCommandName;
  readonly groupType: number;
  /** 0 where the command does not use it. */
  readonly memberId: number;
  /** What follows the header. */
  readonly data?: Uint8Array;
  /** Bytes to leave for the command's own result. */
  readonly room?: number;
  /** The lengths of `data` and `room` mean something: no padding up to whole words. */
  readonly exact?: boolean;
}

/** How often a command is sent again that the device could not carry out yet. */
const tries = 10;

const { status: statusField, status_qualifier: qualifierField } = virtio_admin_cmd_answer.field;

/**
 * Sends commands over one administration virtqueue, where the device takes them in the order they are sent.
 *
 * @spec 2.13.2 driver: Basic Facilities of a Virtio Device / Administration virtqueues
 */
export class AdminChannel {
  readonly #queue: OpenQueue;
  readonly #underWay = new Set<Promise<unknown>>();
  #alone: Promise<unknown> = Promise.resolve();

  constructor(queue: OpenQueue) {
    this.#queue = queue;
  }

  /**
   * Sends a command and gives back its own result: as many bytes as the device has written, at most `room`.
   * The caller reads what is missing as zero.
   *
   * @throws {AdminError} when the device does not carry it out.
   * @throws {PeerError} BAD_RESPONSE when it does not say.
   * @throws {HostError} DEVICE_GONE when the device is closed meanwhile.
   */
  send(command: SentCommand): Promise<Uint8Array> {
    return this.#after(this.#alone, command);
  }

  /**
   * Sends a command while no other is under way.
   *
   * @spec 2.12.1.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands
   */
  sendAlone(command: SentCommand): Promise<Uint8Array> {
    const sent = this.#after(Promise.allSettled(this.#underWay), command);
    this.#alone = sent.catch(() => {});
    return sent;
  }

  #after(before: Promise<unknown>, command: SentCommand): Promise<Uint8Array> {
    const sent = before.then(() => this.#send(command));
    const settled: Promise<unknown> = sent.then(
      () => this.#underWay.delete(settled),
      () => this.#underWay.delete(settled),
    );
    this.#underWay.add(settled);
    return sent;
  }

  async #send(command: SentCommand): Promise<Uint8Array> {
    for (let left = tries; ; left--) {
      try {
        return await this.#sendOnce(command);
      } catch (error) {
        if (!(error instanceof AdminError) || error.status !== 'EAGAIN' || left <= 1) throw error;
      }
    }
  }

  async #sendOnce({
    name,
    groupType,
    memberId,
    data,
    room = 0,
    exact = false,
  }: SentCommand): Promise<Uint8Array> {
    const padded = exact ? (length: number) => length : wholeWords;
    const header = virtio_admin_cmd.encode({
      opcode: adminOpcode[name],
      group_type: groupType,
      group_member_id: BigInt(memberId),
    });
    const request = new Uint8Array(padded(header.length + (data?.length ?? 0)));
    request.set(header);
    if (data !== undefined) request.set(data, header.length);
    const answer = await this.#queue.request(request, virtio_admin_cmd_answer.size + padded(room));
    if (answer.length < virtio_admin_cmd_answer.field.reserved2.offset) {
      const clause = 'device: Basic Facilities of a Virtio Device / Administration virtqueues';
      throw new PeerError('BAD_RESPONSE', `the device answered ${name} without a status`, clause);
    }
    const view = dataView(answer);
    const error = adminError(statusField.get(view), qualifierField.get(view), name);
    if (error !== undefined) throw error;
    return answer.subarray(virtio_admin_cmd_answer.size, virtio_admin_cmd_answer.size + room);
  }
}

/** Both parts of a command are whole 64-bit words. */
const wholeWords = (length: number): number => Math.ceil(length / 8) * 8;
