export { type FileStorage, type FileStorageOptions, openFileStorage } from './file-storage.ts';
