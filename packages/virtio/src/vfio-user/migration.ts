import { GatheredBytes } from '../channel/gathered-bytes.ts';
import { type Answer, type Command, refuse } from './command.ts';
import { featureRequest, probed } from './device-feature.ts';
import {
  deviceFeature,
  featureFlag,
  migrationFlag,
  migrationState,
  vfio_user_device_feature,
  vfio_user_device_feature_mig_state,
  vfio_user_device_feature_migration,
  vfio_user_mig_data,
} from './messages.ts';

/** A function that can be carried over to another server: `pciMigration` of `virtio/transports/pci` makes one. */
export interface VfioMigration {
  /** Settles when the function does nothing any more. */
  stop(): Promise<void>;
  go(): void;
  /** The state of the function, which is stopped. */
  save(): Uint8Array;
  /** Gives the function, which is stopped, a state that may be any bytes. Throws when they are none; it is reset then. */
  restore(bytes: Uint8Array): void;
}

type State = (typeof migrationState)[keyof typeof migrationState];

/** More than any function's state has, in bytes. */
export const mostStateBytes: number = 64 * 2 ** 20;
const dataOffset = vfio_user_device_feature.size;

/** The states of a migration, and the data that are carried over. */
export class Migration {
  readonly #function: VfioMigration;
  readonly #maxTransfer: number;
  #state: State = migrationState.RUNNING;
  /** What is read out in STOP_COPY, from `#at` on. */
  #outgoing: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** What was written in RESUMING. */
  #incoming = new GatheredBytes();
  #resets = 0;

  constructor(pciFunction: VfioMigration, maxTransfer: number) {
    this.#function = pciFunction;
    this.#maxTransfer = maxTransfer;
  }

  /** Tells what there is, the present state, or changes it; settles when the function has followed. */
  feature(command: Command): Answer | Promise<Answer> {
    const request = featureRequest(command);
    const { argsz, flags, index, wants } = request;
    const isState = index === deviceFeature.MIG_DEVICE_STATE;
    const known = index === deviceFeature.MIGRATION ? featureFlag.GET : featureFlag.GET | featureFlag.SET;
    if (!isState && index !== deviceFeature.MIGRATION) refuse('ENOTTY', `there is no feature ${index}`);
    const answer = probed(command, request, known);
    if (answer !== undefined) return answer;
    if (wants === featureFlag.GET) return this.#get(argsz, flags, isState);
    if (wants !== featureFlag.SET || !isState) refuse('EINVAL', `the flags are 0x${flags.toString(16)}`);
    const { size } = vfio_user_device_feature_mig_state;
    if (command.length !== dataOffset + size)
      refuse('EINVAL', `a state of ${command.length - dataOffset} bytes`);
    const wanted = vfio_user_device_feature_mig_state.read(command.view, dataOffset).device_state;
    return this.#change(wanted).then(() => ({ payload: [command.data(0)] }));
  }

  read(command: Command): Answer {
    const { argsz, size } = command.read(vfio_user_mig_data);
    const head = vfio_user_mig_data.size;
    if (this.#state !== migrationState.STOP_COPY) refuse('EINVAL', 'no state is being copied');
    if (size > this.#maxTransfer || argsz < head + size)
      refuse('EINVAL', `a read of ${size} bytes into ${argsz}`);
    const data = this.#outgoing.subarray(this.#at, this.#at + size);
    this.#at += data.length;
    return { payload: [vfio_user_mig_data.encode({ argsz: head + data.length, size: data.length }), data] };
  }

  write(command: Command): Answer {
    const { size } = command.read(vfio_user_mig_data);
    const data = command.data(vfio_user_mig_data.size);
    if (this.#state !== migrationState.RESUMING) refuse('EINVAL', 'no state is being taken');
    if (data.length !== size) refuse('EINVAL', `a write of ${size} bytes came with ${data.length}`);
    if (this.#incoming.length + size > mostStateBytes)
      refuse('ENOSPC', `a state of more than ${mostStateBytes} bytes`);
    this.#incoming.append(data);
    return {};
  }

  /** The function was reset, so it runs again, whatever it was before. */
  reset(): void {
    this.#resets++;
    this.#forget();
    this.#state = migrationState.RUNNING;
    this.#function.go();
  }

  #get(argsz: number, flags: number, isState: boolean): Answer {
    const data = isState
      ? vfio_user_device_feature_mig_state.encode({ device_state: this.#state })
      : vfio_user_device_feature_migration.encode({ flags: migrationFlag.STOP_COPY });
    const needed = dataOffset + data.length;
    if (argsz < needed) refuse('EINVAL', `argsz is ${argsz}, fewer than ${needed}`);
    return { payload: [vfio_user_device_feature.encode({ argsz: needed, flags }), data] };
  }

  /** Every way from one state to another leads over STOP. */
  async #change(wanted: number): Promise<void> {
    const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING } = migrationState;
    const next = [STOP, RUNNING, STOP_COPY, RESUMING].find((state) => state === wanted);
    if (next === undefined) refuse('EINVAL', `there is no state ${wanted} to be in`);
    if (this.#state === ERROR) refuse('EINVAL', 'the function has failed, and must be reset');
    if (this.#state === next) return;
    const resets = this.#resets;
    if (this.#state === RUNNING) await this.#function.stop();
    if (resets !== this.#resets) refuse('EINVAL', 'the function was reset meanwhile');
    if (this.#state === RESUMING) this.#take();
    this.#forget();
    if (next === STOP_COPY) this.#save();
    if (next === RUNNING) this.#function.go();
    this.#state = next;
  }

  /** A function that cannot be saved now goes on as it was. */
  #save(): void {
    try {
      this.#outgoing = this.#function.save();
    } catch (error) {
      if (this.#state === migrationState.RUNNING) this.#function.go();
      refuse('EINVAL', error instanceof Error ? error.message : String(error));
    }
  }

  /** All of the state has come. */
  #take(): void {
    try {
      this.#function.restore(this.#incoming.bytes);
    } catch (error) {
      this.#forget();
      this.#state = migrationState.ERROR;
      refuse('EINVAL', error instanceof Error ? error.message : String(error));
    }
  }

  #forget(): void {
    this.#outgoing = new Uint8Array(0);
    this.#at = 0;
    this.#incoming = new GatheredBytes();
  }
}
