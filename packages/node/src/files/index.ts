export { type CacheMode, cacheModes } from './cache-modes.ts';
export type { FolderTree } from './folder-tree.ts';
export type { IdMaps, IdRange } from './ids.ts';
export type { SharedFile } from './open-file.ts';
export { type ShareOptions, shareFolder } from './share-folder.ts';
export { lentFolderWindow, lentMemoryWindow, type MemoryFsWindow } from './windows.ts';
