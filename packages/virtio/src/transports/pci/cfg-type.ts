// The `cfg_type` of the virtio structure capabilities (4.1.4).

export const COMMON_CFG = 1;
export const NOTIFY_CFG = 2;
export const ISR_CFG = 3;
export const DEVICE_CFG = 4;
export const PCI_CFG = 5;
export const SHARED_MEMORY_CFG = 8;
export const VENDOR_CFG = 9;
