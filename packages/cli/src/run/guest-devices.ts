import { webcrypto } from 'node:crypto';
import type { Device } from 'virtio/device';
import { blkDevice, type Storage } from 'virtio/devices/blk';
import { type ConsolePort, consoleDevice } from 'virtio/devices/console';
import { entropyDevice } from 'virtio/devices/entropy';
import type { HostError } from 'virtio/errors';
import { controlPort, stderrPort, stdinPort } from 'virtio-node/guests';
import type { NamedDevice } from './trace-writer.ts';

/** Who takes what the guest writes; it waits while a promise is pending. */
export interface GuestOutput {
  readonly terminal: (bytes: Uint8Array) => void | Promise<void>;
  readonly errors: (bytes: Uint8Array) => void | Promise<void>;
  readonly control: (bytes: Uint8Array) => void;
  /** What lies beneath a disk failed; the guest has been told that its request did. */
  readonly diskError: (device: string, error: HostError) => void;
}

/** The devices of one machine, and the ends of them that we hold. */
export interface GuestDevices {
  /** In the order in which they stand on the bus. */
  readonly named: readonly NamedDevice[];
  /** Port 0, `/dev/hvc0`. */
  readonly terminal: ConsolePort;
  readonly control: ConsolePort;
  /** A command's standard input. */
  readonly input: ConsolePort;
}

/** Makes the devices of a machine: a console, a source of randomness where it is of use, disks, sockets, shares, networks. */
export function makeGuestDevices(
  storages: readonly Storage[],
  output: GuestOutput,
  hasEntropy: boolean,
  sockets: Device | undefined,
  shares: readonly Device[],
  networks: readonly Device[],
): GuestDevices {
  const hvc = consoleDevice({
    onData: output.terminal,
    ports: [
      { name: controlPort, onData: output.control },
      { name: stdinPort },
      { name: stderrPort, onData: output.errors },
    ],
  });
  const named: NamedDevice[] = [
    { name: 'console', device: hvc },
    ...(hasEntropy ? [{ name: 'entropy', device: entropy() }] : []),
    ...storages.map((storage, index) => {
      const name = `blk${index}`;
      const onError = (error: HostError): void => output.diskError(name, error);
      return { name, device: blkDevice({ storage, id: `virtio-ts-${index}`, onError }) };
    }),
    ...(sockets === undefined ? [] : [{ name: 'vsock', device: sockets }]),
    ...shares.map((device, index) => ({ name: `fs${index}`, device })),
    ...networks.map((device, index) => ({ name: `net${index}`, device })),
  ];
  return { named, terminal: hvc.console, control: hvc.port(controlPort), input: hvc.port(stdinPort) };
}

function entropy(): Device {
  return entropyDevice({ source: (target) => webcrypto.getRandomValues(target) });
}
