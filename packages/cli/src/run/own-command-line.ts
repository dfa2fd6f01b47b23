import type { ImageOptions } from './machine.ts';

/**
 * What a kernel of the user's is told in a PC. What it says goes to the serial port, where we see it die; an init of the
 * user's has the terminal as its console besides.
 */
export function ownCommandLine(options: Pick<ImageOptions, 'initrd'>): string {
  return `${ownConsoles('ttyS0', options)} tsc=reliable mitigations=off random.trust_cpu=on`;
}

/** Where a kernel talks that has its own console there. On the terminal it would talk into what our init runs. */
export function ownConsoles(kernel: string, { initrd }: Pick<ImageOptions, 'initrd'>): string {
  return initrd === undefined ? `console=${kernel}` : `console=${kernel} console=hvc0`;
}
