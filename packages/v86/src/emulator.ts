import { UsageError } from 'virtio/errors';

/**
 * The members of v86 that this package builds on. They are not in v86's public declarations; its release
 * builds keep their names. Known to be there from v86 0.5.462 on, which is checked when a device is attached.
 */

/** What `attach` takes: an emulator made by `new V86(…)`. */
export interface V86Emulator {
  add_listener(event: 'emulator-ready', listener: () => void): void;
  remove_listener(event: 'emulator-ready', listener: () => void): void;
}

/** The I/O ports and mapped memory. Widths in bits, as in v86's names. */
export interface V86Io {
  /** Maps whole blocks of 128 KiB; the functions get guest addresses, which may be negative as 32-bit numbers are. */
  mmap_register(
    address: number,
    size: number,
    read8: (address: number) => number,
    write8: (address: number, value: number) => void,
    read32: (address: number) => number,
    write32: (address: number, value: number) => void,
  ): void;
  port_read8(port: number): number;
  port_read16(port: number): number;
  port_read32(port: number): number;
  port_write8(port: number, value: number): void;
  port_write16(port: number, value: number): void;
  port_write32(port: number, value: number): void;
}

/** What v86 wants to know of a PCI function. */
export interface V86PciDevice {
  /** Device and function number: `slot << 3`. */
  readonly pci_id: number;
  /** The first bytes of configuration space, at least 64. */
  readonly pci_space: readonly number[];
  readonly pci_bars: readonly never[];
  readonly name: string;
}

/** PCI bus 0. */
export interface V86Pci {
  /** The configuration address register, port 0xCF8, as bytes. */
  readonly pci_addr: Uint8Array;
  /** By device and function number. */
  readonly devices: (V86PciDevice | undefined)[];
  readonly device_spaces: (Int32Array | undefined)[];
  /** Configuration space of the ISA bridge, whose bytes 0x60 to 0x63 route PIRQA to PIRQD. */
  readonly isa_bridge_space8: Uint8Array;
  register_device(device: V86PciDevice): void;
  raise_irq(pciId: number): void;
  lower_irq(pciId: number): void;
}

/** The machine inside an emulator, once it is there. */
export interface V86Cpu {
  readonly wasm_memory: { readonly buffer: ArrayBufferLike };
  /** The guest's memory, from address 0. */
  readonly mem8: Uint8Array;
  readonly io: V86Io;
  readonly devices: { readonly pci: V86Pci };
  /** Runs the guest for about a millisecond; returns how long it may sleep. */
  main_loop(): number;
  /** Looks at the timers, between two runs of instructions; returns how long the guest may sleep. */
  run_hardware_timers(acpi: number, now: number): number;
  /** Takes over code that was compiled in the background. */
  codegen_finalize_finished(tableIndex: number, start: number, stateFlags: number): void;
  /** What `save_state` writes: numbers, strings, arrays and typed arrays, holes allowed. */
  get_state(): unknown[];
  set_state(state: unknown[]): void;
  /** The machine's reset: by the guest, or by `restart`. */
  reboot_internal(): void;
  /** Forgets code that was compiled from the guest's memory from `start` to before `end`. */
  jit_dirty_cache(start: number, end: number): void;
  jit_clear_cache(): void;
  device_raise_irq(irq: number): void;
  device_lower_irq(irq: number): void;
}

const functions: readonly string[] = [
  ...[
    'main_loop',
    'run_hardware_timers',
    'codegen_finalize_finished',
    'get_state',
    'set_state',
    'reboot_internal',
  ],
  ...['jit_dirty_cache', 'jit_clear_cache', 'device_raise_irq', 'device_lower_irq'],
  ...['io.port_read8', 'io.port_read16', 'io.port_read32'],
  ...['io.port_write8', 'io.port_write16', 'io.port_write32', 'io.mmap_register'],
  ...['devices.pci.register_device', 'devices.pci.raise_irq', 'devices.pci.lower_irq'],
];
const objects: readonly string[] = [
  ...['wasm_memory.buffer', 'mem8.byteOffset', 'devices.pci.pci_addr', 'devices.pci.devices'],
  ...['devices.pci.device_spaces', 'devices.pci.isa_bridge_space8'],
];

/**
 * The machine inside an emulator; `undefined` while v86 is still loading.
 *
 * @throws {UsageError} BAD_ARGUMENT when this is no v86, or one without the members that are needed.
 */
export function v86Cpu(emulator: V86Emulator): V86Cpu | undefined {
  const cpu = member(emulator, 'v86.cpu');
  if (member(cpu, 'devices.pci') === undefined) {
    if (typeof emulator?.add_listener === 'function') return undefined;
    throw new UsageError('BAD_ARGUMENT', 'attach takes an emulator made by new V86(…)');
  }
  const missing =
    functions.find((path) => typeof member(cpu, path) !== 'function') ??
    objects.find((path) => member(cpu, path) === undefined);
  if (missing !== undefined) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `this v86 has no cpu.${missing}; virtio-v86 works with v86 0.5.462 and later`,
    );
  }
  // Every member of the interface was looked at.
  return cpu as V86Cpu;
}

/**
 * Calls `use` with the machine inside an emulator: at once, or when it has loaded. Answers how to call it off.
 *
 * @throws {UsageError} as {@link v86Cpu}, and whatever `use` throws, when the emulator has loaded already;
 * otherwise these are given to `failed`.
 */
export function whenReady(
  emulator: V86Emulator,
  use: (cpu: V86Cpu) => void,
  failed: (error: unknown) => void,
): () => void {
  const present = v86Cpu(emulator);
  if (present !== undefined) {
    use(present);
    return () => {};
  }
  const cancel = (): void => emulator.remove_listener('emulator-ready', listener);
  const listener = (): void => {
    cancel();
    try {
      const cpu = v86Cpu(emulator);
      if (cpu === undefined) throw new UsageError('BAD_STATE', 'v86 said emulator-ready and has no machine');
      use(cpu);
    } catch (error) {
      failed(error);
    }
  };
  emulator.add_listener('emulator-ready', listener);
  return cancel;
}

function member(value: unknown, path: string): unknown {
  let at = value;
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null) return undefined;
    // An object may be asked for any property.
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  return at;
}

/** Puts a function in the place of one of v86's methods; it gets the one that was there, bound. */
export function intercept<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (original: T[K]) => T[K],
): void {
  const original = target[name];
  // Only methods are intercepted, and binding one leaves its type as it was.
  target[name] = make(typeof original === 'function' ? original.bind(target) : original);
}
