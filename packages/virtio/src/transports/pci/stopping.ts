import type { PciFunction } from './device.ts';

/**
 * Stops a function: it takes no buffer and sends no interrupt, and its registers answer as before. Settles when all that
 * it had begun is done.
 *
 * @spec 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
 */
export async function stopPciFunction(pciFunction: PciFunction): Promise<void> {
  pciFunction.stopped = true;
  pciFunction.followMode();
  await pciFunction.core.idle();
}

/** Lets a function go on that was stopped: it looks at every queue, and notifies the driver of each. */
export function startPciFunction(pciFunction: PciFunction): void {
  if (!pciFunction.stopped) return;
  pciFunction.stopped = false;
  pciFunction.followMode();
  if (pciFunction.configHeld) pciFunction.parts.interrupts.notifyConfig();
  pciFunction.configHeld = false;
  pciFunction.resume();
}
