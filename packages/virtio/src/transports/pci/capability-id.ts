// PCI capability ids.

export const VENDOR = 0x09;
export const MSIX = 0x11;
