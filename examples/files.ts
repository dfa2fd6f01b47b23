/**
 * Files for a guest: a tree in memory that both the program and the guest's driver see, locks and links among it.
 * `npm run build && npx tsx examples/files.ts`
 */
import { FsError, fsDevice, memoryFiles, openFs } from 'virtio/devices/fs';
import { Loopback } from 'virtio/transports/loopback';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** The host: a tree with one file. A guest with Linux would `mount -t virtiofs share /mnt`. */
const files = memoryFiles();
files.writeFile('/notes/first.txt', 'written by the host\n');
const share = fsDevice({ tag: 'share', files });

/** The guest: reads it, writes another, and gives that one two names. */
const guest = await openFs(new Loopback(share));
console.log(guest.tag, decode(await guest.readFile('notes/first.txt')).trim());
await guest.writeFile('notes/second.txt', encode('written by the guest\n'));
await guest.link('notes/second.txt', 'notes/again.txt');
await guest.symlink('second.txt', 'notes/link');
for (const { name, attributes } of await guest.readdir('notes', { attributes: true })) {
  console.log(`${name}: ${attributes?.nlink} name(s), ${attributes?.size} bytes`);
}

/** Two processes of the guest want the same bytes: one waits until the other is done. */
const file = await guest.open('notes/link', { access: 'both' });
await file.lock({ type: 'write', owner: 1n });
const second = file
  .lock({ type: 'write', owner: 2n }, { wait: true })
  .then(() => console.log('second has it'));
console.log('first has it');
await file.lock({ type: 'unlock', owner: 1n });
await second;
await file.close();

console.log(decode(files.readFile('/notes/again.txt')).trim());
const missing = await guest.readFile('nothing').catch((error: unknown) => error);
console.log(missing instanceof FsError ? missing.code : missing);
await guest.close();
