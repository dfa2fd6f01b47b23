import { PeerError } from '../../errors.ts';
import type { PciAccess } from './access.ts';
import type { FoundBar } from './bar-probe.ts';
import {
  capabilityId,
  configSpaceSize,
  firstCapabilityOffset,
  msix_cap,
  msix_table_entry,
  msixControl,
  pci_header,
  statusBit,
} from './pci-registers.ts';
import {
  cfgType,
  virtio_pci_cap,
  virtio_pci_cap64,
  virtio_pci_cfg_cap,
  virtio_pci_common_cfg,
  virtio_pci_notify_cap,
  virtio_pci_vndr_data,
} from './registers.ts';

/** Bytes of the common configuration that every device has: the rest came with features. */
const commonRequiredLength = virtio_pci_common_cfg.field.queue_notif_config_data.offset;

/** A structure behind a BAR; all of it lies there. */
export interface PciStructure {
  readonly bar: number;
  /** Bytes from the start of the BAR. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** The notification structure. */
export interface NotifyStructure extends PciStructure {
  readonly multiplier: number;
}

/** The MSI-X capability. */
export interface MsixCapability {
  /** Bytes from the start of configuration space. */
  readonly offset: number;
  /** Vectors. */
  readonly size: number;
  readonly table: PciStructure;
}

/** A vendor data capability, to be shown and no more. */
export interface VendorData {
  readonly vendorId: number;
  /** Where it stands in configuration space, and its length in bytes. */
  readonly offset: number;
  readonly length: number;
}

/** What a function's capability list tells: of each structure the first that is usable. */
export interface PciCapabilities {
  readonly common: PciStructure;
  readonly notify: NotifyStructure;
  readonly isr: PciStructure;
  readonly device: PciStructure | undefined;
  /** Where the PCI_CFG capability stands. */
  readonly window: number | undefined;
  /** Shared memory regions by id. */
  readonly sharedMemory: ReadonlyMap<number, PciStructure>;
  readonly vendorData: readonly VendorData[];
  readonly msix: MsixCapability | undefined;
}

interface Mutable {
  common?: PciStructure | undefined;
  notify?: NotifyStructure;
  isr?: PciStructure | undefined;
  device?: PciStructure | undefined;
  window?: number;
  msix?: MsixCapability;
}

/** The space between capabilities cannot hold more of them than this. */
const mostCapabilities = (configSpaceSize - firstCapabilityOffset) / 4;

const capField = virtio_pci_cap.field;

/**
 * Reads the capability list. Structures that cannot be used are passed over, since a device may offer another;
 * what is missing in the end is an error that says why.
 *
 * @throws {PeerError} LAYOUT_INVALID
 * @spec 4.1.4.1 driver: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
 */
export async function readCapabilities(
  access: PciAccess,
  bars: readonly FoundBar[],
): Promise<PciCapabilities> {
  return new CapabilityReader(access, bars).read();
}

/** The offsets of all capabilities by id. The list is the function's word: it may loop or lead astray. */
async function listCapabilities(access: PciAccess): Promise<{ offset: number; id: number }[]> {
  const { status, capabilities_pointer } = pci_header.field;
  if (((await access.configRead(status.offset, 2)) & statusBit.CAPABILITIES) === 0) return [];
  const found = new Map<number, number>();
  let offset = (await access.configRead(capabilities_pointer.offset, 1)) & ~3;
  while (offset !== 0) {
    if (offset < firstCapabilityOffset) throw invalid(`a capability at ${offset}, in the header`);
    if (found.has(offset) || found.size >= mostCapabilities) throw invalid('the capability list loops');
    found.set(offset, await access.configRead(offset, 1));
    offset = (await access.configRead(offset + 1, 1)) & ~3;
  }
  return Array.from(found, ([at, id]) => ({ offset: at, id }));
}

class CapabilityReader {
  readonly #access: PciAccess;
  readonly #bars: readonly FoundBar[];
  readonly #found: Mutable = {};
  readonly #sharedMemory = new Map<number, PciStructure>();
  readonly #vendorData: VendorData[] = [];
  /** Why structures were passed over. */
  readonly #reasons: string[] = [];

  constructor(access: PciAccess, bars: readonly FoundBar[]) {
    this.#access = access;
    this.#bars = bars;
  }

  async read(): Promise<PciCapabilities> {
    let virtio = 0;
    for (const { offset, id } of await listCapabilities(this.#access)) {
      if (id === capabilityId.MSIX) await this.#readMsix(offset);
      if (id !== capabilityId.VENDOR) continue;
      virtio++;
      await this.#readVirtio(offset);
    }
    if (virtio === 0) throw invalid('it has no virtio capabilities: a legacy device, which openPci drives');
    const { common, notify, isr, device, window, msix } = this.#found;
    if (common === undefined) throw this.#missing('common configuration');
    if (notify === undefined) throw this.#missing('notification');
    if (isr === undefined) throw this.#missing('ISR status');
    return {
      common,
      notify,
      isr,
      device,
      window,
      sharedMemory: this.#sharedMemory,
      vendorData: this.#vendorData,
      msix,
    };
  }

  async #readVirtio(at: number): Promise<void> {
    const access = this.#access;
    const capLength = await access.configRead(at + capField.cap_len.offset, 1);
    const type = await access.configRead(at + capField.cfg_type.offset, 1);
    if (at + capLength > configSpaceSize) {
      this.#reasons.push(`the capability at ${at} of ${capLength} bytes leaves configuration space`);
      return;
    }
    if (type === cfgType.VENDOR_CFG) {
      if (capLength < virtio_pci_vndr_data.size) return;
      const vendorId = await access.configRead(at + virtio_pci_vndr_data.field.vendor_id.offset, 2);
      this.#vendorData.push({ vendorId, offset: at, length: capLength });
      return;
    }
    const bar = await access.configRead(at + capField.bar.offset, 1);
    if (bar > 5 || !knownTypes.has(type)) return;
    if (capLength < leastLength(type)) {
      this.#reasons.push(`the capability at ${at} has ${capLength} bytes, too few for its type ${type}`);
      return;
    }
    if (type === cfgType.PCI_CFG) {
      this.#found.window ??= at;
      return;
    }
    const offset = await access.configRead(at + capField.offset.offset, 4);
    const length = await access.configRead(at + capField.length.offset, 4);
    await this.#take(at, type, { bar, offset, length });
  }

  async #take(at: number, type: number, structure: PciStructure): Promise<void> {
    const found = this.#found;
    switch (type) {
      case cfgType.COMMON_CFG:
        found.common ??= this.#usable('common configuration', structure, commonRequiredLength, 4);
        return;
      case cfgType.ISR_CFG:
        found.isr ??= this.#usable('ISR status', structure, 1, 1);
        return;
      case cfgType.DEVICE_CFG:
        found.device ??= this.#usable('device configuration', structure, 1, 4);
        return;
      case cfgType.NOTIFY_CFG: {
        if (found.notify !== undefined) return;
        const field = virtio_pci_notify_cap.field.notify_off_multiplier;
        const multiplier = await this.#access.configRead(at + field.offset, 4);
        const usable = this.#usable('notification', structure, 2, 2);
        if (usable === undefined) return;
        if (multiplier === 1 || (multiplier & (multiplier - 1)) !== 0) {
          this.#reasons.push(`the notify multiplier ${multiplier} is neither 0 nor an even power of two`);
          return;
        }
        found.notify = { ...usable, multiplier };
        return;
      }
      default:
        await this.#takeSharedMemory(at, structure);
    }
  }

  async #takeSharedMemory(at: number, low: PciStructure): Promise<void> {
    const { offset_hi, length_hi } = virtio_pci_cap64.field;
    const id = await this.#access.configRead(at + capField.id.offset, 1);
    const offset = low.offset + (await this.#access.configRead(at + offset_hi.offset, 4)) * 2 ** 32;
    const length = low.length + (await this.#access.configRead(at + length_hi.offset, 4)) * 2 ** 32;
    const region = this.#usable(
      `shared memory ${id}`,
      { bar: low.bar, offset, length },
      Math.max(length, 1),
      1,
    );
    if (region === undefined) return;
    if (this.#sharedMemory.has(id)) throw invalid(`two shared memory regions have id ${id}`);
    this.#sharedMemory.set(id, region);
  }

  /** The structure as far as it lies in its BAR, or `undefined` when that is not enough. */
  #usable(
    what: string,
    structure: PciStructure,
    needed: number,
    alignment: number,
  ): PciStructure | undefined {
    const found = placeOf(this.#bars, structure, needed, alignment);
    if (typeof found !== 'string') return found;
    this.#reasons.push(`the ${what} structure ${found}`);
    return undefined;
  }

  async #readMsix(at: number): Promise<void> {
    if (this.#found.msix !== undefined) return;
    const msix = await readMsix(this.#access, this.#bars, at);
    if (typeof msix === 'string') this.#reasons.push(`the MSI-X table structure ${msix}`);
    // Without a table there is still INTx.
    else this.#found.msix = msix;
  }

  #missing(what: string): PeerError {
    const reasons = this.#reasons.length === 0 ? '' : `: ${this.#reasons.join('; ')}`;
    return invalid(`it has no usable ${what} structure${reasons}`);
  }
}

/** The structure as far as it lies in its BAR, or why that is not enough. */
function placeOf(
  bars: readonly FoundBar[],
  { bar, offset, length: told }: PciStructure,
  needed: number,
  alignment: number,
): PciStructure | string {
  const size = bars.find(({ index }) => index === bar)?.size;
  if (size === undefined) return `is in BAR ${bar}, which does not exist`;
  if (offset % alignment !== 0) return `is misaligned at ${offset}`;
  if (told < needed) return `has ${told} bytes of ${needed}`;
  const length = Math.min(told, size - offset);
  return length < needed ? `at ${offset} is not in BAR ${bar} of ${size} bytes` : { bar, offset, length };
}

async function readMsix(
  access: PciAccess,
  bars: readonly FoundBar[],
  at: number,
): Promise<MsixCapability | string> {
  const { message_control, table } = msix_cap.field;
  const size = ((await access.configRead(at + message_control.offset, 2)) & msixControl.SIZE) + 1;
  const place = await access.configRead(at + table.offset, 4);
  const length = size * msix_table_entry.size;
  const usable = placeOf(bars, { bar: place & 7, offset: (place & ~7) >>> 0, length }, length, 8);
  return typeof usable === 'string' ? usable : { offset: at, size, table: usable };
}

/** The first usable MSI-X capability, where nothing else is looked for. */
export async function findMsix(
  access: PciAccess,
  bars: readonly FoundBar[],
): Promise<MsixCapability | undefined> {
  for (const { offset, id } of await listCapabilities(access)) {
    const msix = id === capabilityId.MSIX ? await readMsix(access, bars, offset) : '';
    if (typeof msix !== 'string') return msix;
  }
  return undefined;
}

/** True when the function has virtio's capabilities, as all but legacy devices have. */
export async function hasVirtioCapabilities(access: PciAccess): Promise<boolean> {
  for (const { offset, id } of await listCapabilities(access)) {
    if (id !== capabilityId.VENDOR) continue;
    if (knownTypes.has(await access.configRead(offset + capField.cfg_type.offset, 1))) return true;
  }
  return false;
}

const knownTypes = new Set<number>(Object.values(cfgType));

function leastLength(type: number): number {
  if (type === cfgType.NOTIFY_CFG) return virtio_pci_notify_cap.size;
  if (type === cfgType.PCI_CFG) return virtio_pci_cfg_cap.size;
  return type === cfgType.SHARED_MEMORY_CFG ? virtio_pci_cap64.size : virtio_pci_cap.size;
}

/** What the function told cannot be. */
export function invalid(what: string): PeerError {
  return new PeerError('LAYOUT_INVALID', `the PCI function: ${what}`);
}
