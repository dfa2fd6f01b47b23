/** Byte offsets of the header's fields, by the names of the format's own description. */
export const headerField = {
  magic: 0,
  version: 4,
  backing_file_offset: 8,
  backing_file_size: 16,
  cluster_bits: 20,
  size: 24,
  crypt_method: 32,
  l1_size: 36,
  l1_table_offset: 40,
  refcount_table_offset: 48,
  refcount_table_clusters: 56,
  nb_snapshots: 60,
  snapshots_offset: 64,
  incompatible_features: 72,
  compatible_features: 80,
  autoclear_features: 88,
  refcount_order: 96,
  header_length: 100,
  compression_type: 104,
} as const;

/** "QFI" and 0xfb. */
export const magic = 0x5146_49fb;
export const headerLength = { version2: 72, version3: 104 } as const;
/** Bytes; the same limits as QEMU's, so that no image is good for one and too large for the other. */
export const most = { l1: 32 * 2 ** 20, refcountTable: 8 * 2 ** 20, snapshots: 65_536, name: 1023 } as const;
export const clusterBits = { least: 9, most: 21 } as const;
