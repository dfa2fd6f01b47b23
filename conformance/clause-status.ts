import type { ClauseId } from 'virtio/spec/clauses';

/**
 * What is said of the normative clauses that no test holds. A tested clause needs no entry: its test cites
 * it. `npm run check` refuses a clause with no status or with two, and a rule that covers nothing.
 */
type Reasons = Partial<Readonly<Record<ClauseId, string>>>;

/** A program that breaks these does not compile; the reason names the type. */
export const heldByTypes: Reasons = {};

/** Nobody on the other side of the ring or the bus could tell; the reason says why. */
export const notObservable: Reasons = {
  'device: Basic Facilities of a Virtio Device / Shared Memory Regions':
    'what a shared memory region is used for shows nowhere; the one that a device type here has shows what files hold',
};

/** Not built or not shown yet, clause by clause. */
export const notYet: Reasons = {};

/** Not built yet, by the beginning of the label: what is left below it, when tests cite some of it. */
export const notYetBelow: readonly { readonly below: string; readonly why: string }[] = [
  { below: 'Device Types / Memory Balloon Device', why: 'memory balloon device: not built yet' },
  { below: 'Device Types / SCSI Host Device', why: 'SCSI host device: not built yet' },
  { below: 'Device Types / GPU Device', why: 'GPU device: not built yet' },
  { below: 'Device Types / Input Device', why: 'input device: not built yet' },
  { below: 'Device Types / Crypto Device', why: 'crypto device: not built yet' },
  { below: 'Device Types / RPMB Device', why: 'RPMB device: not built yet' },
  { below: 'Device Types / IOMMU Device', why: 'IOMMU device: not built yet' },
  { below: 'Device Types / Sound Device', why: 'sound device: not built yet' },
  { below: 'Device Types / Memory Device', why: 'memory device: not built yet' },
  { below: 'Device Types / I2C Adapter Device', why: 'I2C adapter device: not built yet' },
  { below: 'Device Types / SCMI Device', why: 'SCMI device: not built yet' },
  { below: 'Device Types / GPIO Device', why: 'GPIO device: not built yet' },
  { below: 'Device Types / PMEM Device', why: 'PMEM device: not built yet' },
  { below: 'Device Types / CAN Device', why: 'CAN device: not built yet' },
  { below: 'Device Types / SPI Controller Device', why: 'SPI controller device: not built yet' },
  { below: 'Device Types / Media Device', why: 'media device: not built yet' },
  { below: 'Device Types / RTC Device', why: 'RTC device: not built yet' },
];
