import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import { legacyInterface } from '../device/legacy.ts';
import { tracing } from '../device/tracing.ts';
import { memoryForBoth } from '../memory/memory-for-both.ts';
import { connectCcw } from '../transports/ccw/connect.ts';
import { Loopback } from '../transports/loopback/loopback.ts';
import { connectMmio } from '../transports/mmio/connect.ts';
import { connectLegacyMmio } from '../transports/mmio/legacy-connect.ts';
import { connectPci, room } from '../transports/pci/connect.ts';
import { PciTransport } from '../transports/pci/driver.ts';
import { legacyOnly, transitional } from '../transports/pci/legacy-device.ts';
import { msixSignals } from '../transports/pci/msix-table.ts';
import { openPci } from '../transports/pci/open-pci.ts';
import { pciTracing } from '../transports/pci/tracing.ts';
import { VmmPciFunction } from '../transports/pci/vmm-function.ts';
import { VfioPciFunction } from '../vfio-user/client-function.ts';
import { VfioUserServer } from '../vfio-user/server.ts';
import { VhostUserBackend } from '../vhost-user/backend.ts';
import { VhostUserTransport } from '../vhost-user/frontend.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import { inOrder } from '../virtqueue/taken-order.ts';
import type { Bus } from './matrix.ts';
import { TransportProxy } from './transport-proxy.ts';

/** No bus: driver and device in one process. */
export const loopbackBus: Bus = {
  name: 'loopback',
  async connect(device, options) {
    return { transport: new Loopback(device, options) };
  },
};

/** No bus, and a driver and a device of before virtio 1.0, in a guest that is big-endian. */
export const legacyLoopbackBus: Bus = {
  name: 'loopback-legacy',
  legacy: true,
  async connect(device, options) {
    return { transport: new Loopback(device, { ...options, legacy: legacyInterface('big') }) };
  },
};

/** A PCI bus with one function on it, which is found and set up by its capabilities, with MSI-X. */
export const pciBus: Bus = {
  name: 'pci',
  async connect(device, options) {
    return { transport: (await connectPci(device, options)).transport };
  },
};

/** The same with a transitional function, which a transitional driver drives through its modern interface. */
export const transitionalPciBus: Bus = {
  name: 'pci-transitional',
  transitional: true,
  async connect(device, options) {
    const pciFunction = { legacy: transitional() };
    return { transport: (await connectPci(device, { ...options, pciFunction, open: openPci })).transport };
  },
};

/** The same with a driver that prefers the legacy interface. */
export const transitionalPciLegacyBus: Bus = {
  name: 'pci-transitional-legacy',
  legacy: true,
  async connect(device, options) {
    const { transport } = await connectPci(device, {
      ...options,
      pciFunction: { legacy: transitional() },
      open: (access, own) => openPci(access, { ...own, prefer: 'legacy' }),
    });
    return { transport };
  },
};

/** A PCI bus with a legacy function on it, in a guest that is big-endian, with INTx. */
export const legacyPciBus: Bus = {
  name: 'pci-legacy',
  legacy: true,
  async connect(device, options) {
    const { transport } = await connectPci(device, {
      ...options,
      vectors: 0,
      pciFunction: { legacy: legacyOnly({ endian: 'big' }) },
      open: (access, own) => openPci(access, { ...own, endian: 'big' }),
    });
    return { transport };
  },
};

/** One window of registers, version 2. */
export const mmioBus: Bus = {
  name: 'mmio',
  async connect(device, options) {
    return { transport: (await connectMmio(device, options)).transport };
  },
};

/** One window of registers, version 1: the legacy interface. */
export const legacyMmioBus: Bus = {
  name: 'mmio-legacy',
  legacy: true,
  async connect(device, options) {
    return { transport: (await connectLegacyMmio(device, options)).transport };
  },
};

/** A channel subsystem with one device on it, driven by channel programs at revision 1, with classic indicators. */
export const ccw1Bus: Bus = {
  name: 'ccw-1',
  async connect(device, options) {
    return {
      transport: (await connectCcw(device, { ...options, revision: 1, adapterInterrupts: false })).transport,
    };
  },
};

/** The same at revision 2, which can read the device status, with two-stage indicators and adapter interruptions. */
export const ccw2Bus: Bus = {
  name: 'ccw-2',
  async connect(device, options) {
    return { transport: (await connectCcw(device, { ...options, revision: 2 })).transport };
  },
};

/** The same at revision 0: a legacy device and its driver, big-endian, with classic indicators. */
export const ccw0Bus: Bus = {
  name: 'ccw-0',
  legacy: true,
  async connect(device, options) {
    return {
      transport: (await connectCcw(device, { ...options, revision: 0, adapterInterrupts: false })).transport,
    };
  },
};

/** The PCI function of a vfio-user server, its memory and its events shared by descriptors. */
export const vfioUserBus: Bus = {
  name: 'vfio-user',
  concurrent: true,
  async connect(device, { trace, onError, ...given }) {
    const descriptors = new InMemoryDescriptors();
    const { memory, allocator } = memoryForBoth(given);
    const server = new VfioUserServer({ descriptors }, (host) => {
      return new VmmPciFunction(device, {
        ...host,
        msix: msixSignals(host.signalVector),
        packedRing,
        inOrder,
        ...(trace === undefined ? {} : { trace: pciTracing(trace) }),
        ...(onError === undefined ? {} : { onError }),
      });
    });
    const [theirs, ours] = channelPair();
    server.serve(theirs);
    const ranges = memory.regions.map(({ start, bytes }) => ({
      address: start,
      size: bytes.length,
      descriptor: descriptors.lend(bytes),
    }));
    const access = await VfioPciFunction.open(ours, { descriptors, shared: { memory, allocator, ranges } });
    return { transport: await PciTransport.open(access, { room }) };
  },
};

/** A connection that a driver resets and does not end, so that the next driver finds it there. */
class Connection extends TransportProxy {
  override async close(): Promise<void> {
    this.listen(undefined);
    await this.writeStatus(0);
  }
}

/** A vhost-user back end and its front end, rings and events shared by descriptors. */
export const vhostUserBus: Bus = {
  name: 'vhost-user',
  concurrent: true,
  unordered: true,
  leaves: true,
  async connect(device, { trace, onError, ...given }) {
    const descriptors = new InMemoryDescriptors();
    const { memory, allocator } = memoryForBoth(given);
    const [theirs, ours] = channelPair();
    new VhostUserBackend(device, theirs, descriptors, {
      packedRing,
      trace: trace && tracing(trace),
      onError,
    });
    const ranges = memory.regions.map(({ start, bytes }) => ({
      address: start,
      size: bytes.length,
      descriptor: descriptors.lend(bytes),
    }));
    const shared = { memory, allocator, ranges };
    const options = { deviceId: device.type.id, memory: shared };
    return { transport: new Connection(await VhostUserTransport.connect(ours, descriptors, options)) };
  },
};

/** Every bus of the matrix. */
export const buses: readonly Bus[] = [
  loopbackBus,
  legacyLoopbackBus,
  pciBus,
  transitionalPciBus,
  transitionalPciLegacyBus,
  legacyPciBus,
  mmioBus,
  legacyMmioBus,
  ccw0Bus,
  ccw1Bus,
  ccw2Bus,
  vfioUserBus,
  vhostUserBus,
];
