export { type BrowserDiskOptions, deleteBrowserDisk, openBrowserDisk } from './browser-disk.ts';
