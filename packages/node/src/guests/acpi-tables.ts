import { type CpioEntry, writeCpio } from './cpio.ts';

/** An ACPI table for the guest's kernel. */
export interface AcpiTable {
  /** A name for its file: letters, digits. */
  readonly name: string;
  readonly data: Uint8Array;
}

const folder = 'kernel/firmware/acpi';

/**
 * An initramfs with ACPI tables ahead of it, which a Linux with CONFIG_ACPI_TABLE_UPGRADE adds to those of the
 * firmware. The archive of the tables is never compressed: the kernel reads it before it can unpack anything.
 */
export function withAcpiTables(tables: readonly AcpiTable[], initramfs: Uint8Array): Uint8Array {
  const steps = folder.split('/');
  const entries: CpioEntry[] = [
    ...steps.map((_, depth): CpioEntry => ({ type: 'directory', path: steps.slice(0, depth + 1).join('/') })),
    ...tables.map(({ name, data }): CpioEntry => ({ type: 'file', path: `${folder}/${name}.aml`, data })),
  ];
  const archive = writeCpio(entries);
  const whole = new Uint8Array(archive.length + initramfs.length);
  whole.set(archive);
  whole.set(initramfs, archive.length);
  return whole;
}
