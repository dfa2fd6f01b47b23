// The bits of the device status field (2.1, 3.4). A module is a namespace that bundlers see through.

export const ACKNOWLEDGE = 1;
export const DRIVER = 2;
export const DRIVER_OK = 4;
export const FEATURES_OK = 8;
/** With VIRTIO_F_SUSPEND: the driver has suspended the device. */
export const SUSPEND = 16;
export const DEVICE_NEEDS_RESET = 64;
export const FAILED = 128;
