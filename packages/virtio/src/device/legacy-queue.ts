import { legacyLayout } from '../virtqueue/legacy.ts';
import type { ControlRegisters } from './control-registers.ts';
import type { DeviceCore } from './core.ts';
import { disableQueue } from './disable-queue.ts';
import { defaultQueueSetup } from './queue-setup.ts';

/**
 * A legacy driver wrote where the selected queue begins, in bytes: all of it stands there in one piece, and is enabled.
 * 0 takes it away again. `register` is what the transport calls the one that was written.
 */
export function placeLegacyQueue(
  core: DeviceCore,
  control: ControlRegisters,
  register: string,
  start: number,
  queueAlign: number,
): void {
  const index = control.queueSelect;
  const queue = start === 0 ? control.queueFor(register) : control.idleQueueFor(register);
  if (queue === undefined) return;
  if (start === 0) {
    disableQueue(core, index);
    Object.assign(queue, defaultQueueSetup(queue.maxSize));
    return;
  }
  Object.assign(queue, legacyLayout(start, control.queueSize, queueAlign).areas);
  core.enableQueue(index);
}
