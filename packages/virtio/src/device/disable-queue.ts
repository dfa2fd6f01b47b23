import type { DeviceCore } from './core.ts';

/** The driver stops using a queue, where a transport lets it: its set-up stays, what was in flight is void. */
export function disableQueue(core: DeviceCore, index: number): void {
  const setup = core.queue(index);
  if (setup?.enabled !== true) return;
  setup.enabled = false;
  core.closeQueue(index);
}
