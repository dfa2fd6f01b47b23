/** Our back end in a process of its own: `back-end.ts SOCKET [IMAGE]`, with a disk that keeps nothing unless told. */
import { blkDevice, type Storage } from 'virtio/devices/blk';
import { VhostUserBackend } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import { listenUnix, NodeDescriptors } from 'virtio-node/host';
import { openFileStorage } from 'virtio-node/storage';

const [socket = '', image] = process.argv.slice(2);
const nothing: Storage = {
  size: 2 ** 30,
  readOnly: false,
  immediate: true,
  read() {},
  write() {},
  flush() {},
};
const host = new NodeDescriptors();
const device = blkDevice({ storage: image === undefined ? nothing : await openFileStorage(image) });
listenUnix(socket, (channel) => void new VhostUserBackend(device, channel, host, { packedRing }));
