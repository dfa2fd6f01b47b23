import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Descriptors that this process has open, by what they stand for: sockets, memory and events. */
export function openDescriptors(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the one that the list itself was read by
    }
  });
  return links.filter((link) => /^(socket:|\/memfd:|anon_inode:\[eventfd\])/.test(link)).length;
}

/** Mappings of memory that was made to be shared. */
export function sharedMappings(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('/memfd:virtio').length - 1;
}
