import { mmioModule } from './init-scripts.ts';

/**
 * What our guest in v86 wants on its kernel's command line. The kernel's own messages go to the first serial port, so
 * that `/dev/hvc0` carries nothing but what runs on it. The rest leaves out work that takes an emulated processor
 * seconds: self-tests of the kernel's cryptography, a search for ISA and BIOS devices, checks against attacks on
 * a real processor, keys for module signatures, and the tree of kernel probes.
 */
export const guestCommandLine: string = [
  'console=ttyS0 quiet',
  'tsc=reliable mitigations=off nokaslr random.trust_cpu=on',
  'cryptomgr.notests noisapnp pnpbios=off',
  'initcall_blacklist=load_system_certificate_list,init_kprobe_trace',
].join(' ');

/**
 * Put on the command line as well, it makes the guest look for virtio-mmio devices, of which ACPI tells it. The second
 * option is for v86's ACPI: it keeps what a guest writes to clear the status of its events, and Linux would take that
 * for a request to eject every PCI slot.
 */
export const mmioGuest = `virtio_modules=${mmioModule} acpiphp.disable=1`;

/** Put on the command line as well, it makes the guest talk and run its commands on the first serial port alone. */
export const serialControl = 'virtio_control=ttyS0';

/**
 * The same on two serial ports: the control channel has one for itself, so that what a command writes is what comes out
 * of the other.
 */
export function serialPorts(control: string, terminal: string): string {
  return `virtio_control=${control} virtio_terminal=${terminal}`;
}
