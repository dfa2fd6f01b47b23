import type { DeviceCore } from '../../device/core.ts';
import type { DeviceState } from '../../device/state.ts';
import type { Tracer } from '../../device/trace.ts';
import type { VirtioError } from '../../errors.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { FunctionLayout } from './function-layout.ts';
import type { MsixTable } from './msix-table.ts';
import type { BarKind } from './pci-registers.ts';

/** A Base Address Register of a function, as its host sees it. The object stays; its values change. */
export interface PciBar {
  /** 0 to 5; a `memory64` BAR takes the next index as well. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  /** Bytes; a power of two. */
  readonly size: number;
  /** Where the guest has put it, in I/O ports or guest-physical bytes; means something while `enabled`. */
  readonly address: number;
  /** True while the command register lets the function answer there, and there is a place to answer at. */
  readonly enabled: boolean;
  /** The memory behind all of the BAR, when it is a shared memory region that a host may map. */
  readonly bytes: Uint8Array | undefined;
}

/** MSI-X, for a host that can send messages; `msix` makes one. */
export interface MsixSupport {
  /** @internal */
  makeTable(vectors: number, core: DeviceCore): MsixTable;
}

/** What a host lends to a function. A callback must not throw; it may access the function. */
export interface PciHost {
  /** The guest's memory, as this function may see it. */
  readonly memory: GuestMemory;
  /** Drives INTx, which is a level: called when the level changes, and with the present one by `resume`. */
  readonly setInterruptLine?: (level: boolean) => void;
  /** How MSI-X messages are sent: `msix(send)`. Without it there is no MSI-X. */
  readonly msix?: MsixSupport;
  /** The `address` or `enabled` of some BAR has changed; these are all BARs. */
  readonly barsMoved?: (bars: readonly PciBar[]) => void;
  /** Runs a task after the caller's turn; a microtask unless told. */
  readonly defer?: (task: () => void) => void;
  /** Sees everything that happens at this function. */
  readonly trace?: Tracer;
  /** Hears of what the driver did wrong, and of handlers that failed. */
  readonly onError?: (error: VirtioError, needsReset: boolean) => void;
}

/** The BAR that a structure lives in. Structures that name the same BAR share it; its kind must agree. */
export interface BarChoice {
  readonly bar: number;
  readonly kind: BarKind;
}

/**
 * Where the structures live. Several places make several capabilities, the preferred one first. Unless told,
 * all of them are in BAR 0 (`memory64`), the MSI-X tables in BAR 2 and shared memory in BAR 4 (both `memory64`).
 */
export interface PciLayout {
  readonly common?: readonly BarChoice[];
  readonly notify?: readonly BarChoice[];
  readonly isr?: readonly BarChoice[];
  readonly device?: readonly BarChoice[];
  readonly msix?: BarChoice;
  readonly sharedMemory?: BarChoice;
  /** No memory BAR is smaller than this, in bytes; 4096 unless told. For hosts that map in larger units. */
  readonly minimumMemoryBar?: number;
}

/** What a function has beside the structures of every function: `sharedMemory`, `vendorData`, `pciCapability`. */
export interface AddedCapability {
  /** @internal `all` that the function is given, this one among them. */
  add(layout: FunctionLayout, all: readonly AddedCapability[]): void;
}

/** How a function is to be, beside its host. */
export interface PciFunctionOptions extends PciHost {
  readonly layout?: PciLayout;
  /**
   * Bytes from one queue's notification address to the next: 0 (all share one) or a power of two from 2;
   * 4 unless told. With 2, VIRTIO_F_NOTIFICATION_DATA is not offered.
   */
  readonly notifyMultiplier?: number;
  /** The `queue_notify_off` of each queue; its index unless told. */
  readonly queueNotifyOff?: (queue: number) => number;
  /** The `queue_notif_config_data` of each queue, all different: with it VIRTIO_F_NOTIF_CONFIG_DATA is offered. */
  readonly notifConfigData?: (queue: number) => number;
  /** MSI-X vectors, 0 to 2048; 0 is no capability. One for each queue and one more, unless told. */
  readonly msixVectors?: number;
  /** False refuses to map an event to the vector: the driver reads back 0xffff. */
  readonly acceptVector?: (vector: number) => boolean;
  /** In the order in which the guest is to find them. */
  readonly capabilities?: readonly AddedCapability[];
  /** 1 unless told; 1 to 255. */
  readonly revision?: number;
  /** 0x1AF4 unless told. */
  readonly subsystemVendorId?: number;
  /** The PCI Device ID unless told; 0x40 or higher. */
  readonly subsystemId?: number;
  /** 1 (INTA) to 4 (INTD), or 0 for a function without INTx; 1 unless told. */
  readonly interruptPin?: number;
}

/** A function's state as JSON, the device's included. */
export interface PciFunctionState {
  /** Its owner had stopped it. */
  readonly stopped?: boolean;
  /** The 256 bytes of configuration space. */
  readonly config: readonly number[];
  readonly isr: number;
  readonly configVector: number;
  readonly queueVectors: readonly number[];
  readonly msixTable: readonly number[];
  readonly msixPending: readonly number[];
  readonly deviceFeatureSelect: number;
  readonly driverFeatureSelect: number;
  readonly queueSelect: number;
  readonly generation: number;
  readonly core: DeviceState;
}
