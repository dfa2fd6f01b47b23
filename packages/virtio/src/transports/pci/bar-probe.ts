import type { AssignedBar, PciAccess } from './access.ts';
import { type BarKind, commandBit, pci_header } from './pci-registers.ts';

/** A BAR as a driver finds it. */
export interface FoundBar extends AssignedBar {
  readonly prefetchable: boolean;
}

/** Where a driver may put BARs: from `start` on, at most `length` units (bytes, or ports). */
export interface BarWindow {
  readonly start: number;
  readonly length: number;
}

/** Room for the BARs of one function, where firmware or an operating system has not placed them. */
export interface BarRoom {
  readonly memory?: BarWindow;
  readonly io?: BarWindow;
}

const bars = 6;
const { command, bar0 } = pci_header.field;

/**
 * Finds the BARs and their sizes: writes ones, reads what sticks, and puts back what was there. The function
 * answers nowhere meanwhile.
 */
export async function probeBars(access: PciAccess): Promise<FoundBar[]> {
  const before = await access.configRead(command.offset, 2);
  await access.configWrite(command.offset, 2, before & ~(commandBit.IO_SPACE | commandBit.MEMORY_SPACE));
  const found: FoundBar[] = [];
  for (let index = 0; index < bars; index++) {
    const bar = await probeBar(access, index);
    if (bar === undefined) continue;
    found.push(bar);
    if (bar.kind === 'memory64') index++;
  }
  await access.configWrite(command.offset, 2, before);
  return found;
}

async function probeBar(access: PciAccess, index: number): Promise<FoundBar | undefined> {
  const register = bar0.offset + 4 * index;
  const low = await access.configRead(register, 4);
  const kind = kindOf(low);
  const lowMask = await stickyOnes(access, register, low);
  const typeMask = kind === 'io' ? 0x3 : 0xf;
  const addressBits = (lowMask & ~typeMask) >>> 0;
  let [mask, high] = [addressBits, 0];
  if (kind === 'memory64') {
    // The type says that the next register is the upper half; behind the last there is none.
    if (index === bars - 1) return undefined;
    high = await access.configRead(register + 4, 4);
    mask += (await stickyOnes(access, register + 4, high)) * 2 ** 32;
  }
  const size = lowestBit(mask);
  if (size === 0) return undefined;
  const address = high * 2 ** 32 + ((low & ~typeMask) >>> 0);
  return { index, kind, size, address, prefetchable: kind !== 'io' && (low & 0x8) !== 0 };
}

async function stickyOnes(access: PciAccess, register: number, before: number): Promise<number> {
  await access.configWrite(register, 4, 0xffffffff);
  const sticky = await access.configRead(register, 4);
  await access.configWrite(register, 4, before);
  return sticky;
}

function kindOf(low: number): BarKind {
  if ((low & 1) !== 0) return 'io';
  return (low & 0x6) === 0x4 ? 'memory64' : 'memory32';
}

/** The size is the lowest address bit that the guest may set; 0 when there is none. */
function lowestBit(mask: number): number {
  const low = mask % 2 ** 32;
  if (low !== 0) return (low & -low) >>> 0;
  const high = Math.floor(mask / 2 ** 32);
  return ((high & -high) >>> 0) * 2 ** 32;
}

/** Puts each BAR at a multiple of its size within the room. BARs that find none stay where they were. */
export async function assignBars(
  access: PciAccess,
  found: readonly FoundBar[],
  room: BarRoom,
): Promise<FoundBar[]> {
  const next = { memory: room.memory?.start ?? 0, io: room.io?.start ?? 0 };
  const placed = [...found];
  for (const [at, bar] of [...found.entries()].sort(([, a], [, b]) => b.size - a.size)) {
    const space = bar.kind === 'io' ? 'io' : 'memory';
    const window = room[space];
    if (window === undefined) continue;
    const address = Math.ceil(next[space] / bar.size) * bar.size;
    if (address + bar.size > window.start + window.length) continue;
    next[space] = address + bar.size;
    const register = bar0.offset + 4 * bar.index;
    await access.configWrite(register, 4, address % 2 ** 32);
    if (bar.kind === 'memory64') await access.configWrite(register + 4, 4, Math.floor(address / 2 ** 32));
    const assigned = { ...bar, address };
    await access.barAssigned?.(assigned);
    placed[at] = assigned;
  }
  return placed;
}
