import { blkDevice, memoryStorage } from 'virtio/devices/blk';
import { GuestMemory } from 'virtio/memory';
import { LegacyMmioDevice, MmioDevice, mmioRegisters } from 'virtio/transports/mmio';
import { commonRegisters, legacyOnly, PciFunction, pci_header } from 'virtio/transports/pci';

/** One register of one bus, read and written as a guest would. */
export interface Access {
  readonly name: string;
  readonly read: () => number;
  readonly write: () => void;
}

const makeDevice = () => blkDevice({ storage: memoryStorage(2 ** 20) });
const memory = () => GuestMemory.ofSize(2 ** 20);
/** Memory, I/O and Bus Master of PCI's command register. */
const decodes = 7;
/** The first BAR's place in configuration space. */
const firstBar = 0x10;

function pci(name: string, legacy: boolean): Access[] {
  const pciFunction = new PciFunction(makeDevice(), {
    memory: memory(),
    ...(legacy ? { legacy: legacyOnly() } : {}),
  });
  const [first] = pciFunction.bars;
  if (first === undefined) throw new Error('the function has no BAR');
  const bar = first.index;
  pciFunction.configWrite(firstBar + 4 * bar, 4, legacy ? 0xc000 : 0xe000_0000);
  pciFunction.configWrite(pci_header.field.command.offset, 2, decodes);
  const status = legacy ? 18 : commonRegisters.register.device_status.offset;
  const select = legacy ? 14 : commonRegisters.register.queue_select.offset;
  return [
    {
      name,
      read: () => pciFunction.barRead(bar, status, 1),
      write: () => pciFunction.barWrite(bar, select, 2, 0),
    },
  ];
}

function mmio(): Access[] {
  const options = { memory: memory(), setInterruptLine: () => {} };
  const modern = new MmioDevice(makeDevice(), options);
  const legacy = new LegacyMmioDevice(makeDevice(), options);
  const { Status, QueueSel } = mmioRegisters.register;
  return Object.entries({ mmio: modern, 'mmio-legacy': legacy }).map(([name, device]) => ({
    name,
    read: () => device.read(Status.offset, 4),
    write: () => device.write(QueueSel.offset, 4, 0),
  }));
}

/** A register that is read and one that is written, on each bus that has registers. */
export const accesses = (): Access[] => [...pci('pci', false), ...pci('pci-legacy', true), ...mmio()];
