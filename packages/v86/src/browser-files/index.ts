export { browserFolder, deleteBrowserFiles, openBrowserFiles } from './browser-files.ts';
export type { BrowserTree, BrowserTreeOptions } from './tree.ts';
