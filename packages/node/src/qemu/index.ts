export { type Board, type BoardName, boards } from './boards.ts';
export { QemuCcwMachine, type QemuCcwOptions } from './ccw-machine.ts';
export { QemuMachine, type QemuOptions } from './machine.ts';
export { QemuMmioMachine, type QemuMmioOptions, qemuMmioDeviations } from './mmio-machine.ts';
export { QemuPciFunction } from './pci-access.ts';
export { QemuPciMachine, type QemuPciOptions, qemuDeviations } from './pci-machine.ts';
export { Qmp } from './qmp.ts';
export { type InterruptHandler, Qtest, type QtestWidth } from './qtest.ts';
export { SharedMemory } from './shared-memory.ts';
