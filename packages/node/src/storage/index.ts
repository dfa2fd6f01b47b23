export { type FileStorage, type FileStorageOptions, openFileStorage } from './file-storage.ts';
export { type NbdOptions, type NbdStorage, openNbd } from './nbd/nbd-storage.ts';
export { type NbdTls, readCertificates } from './nbd/tls.ts';
export { isNbdUri } from './nbd/uri.ts';
export {
  type ImageFormat,
  imageFormat,
  type OpenStorage,
  openStorage,
  type StorageOptions,
} from './open-storage.ts';
export { createQcow2, type NewQcow2 } from './qcow2/create.ts';
export { openQcow2, type Qcow2Options, type Qcow2Storage } from './qcow2/open.ts';
export { hasUring } from './uring/uring.ts';
