import { type DeviceType, FeatureSet, reservedFeatures } from 'virtio/spec';
import { probeVhostUser, type VhostUserProbe } from 'virtio/vhost-user';
import { NodeDescriptors } from 'virtio-node/host';
import { answerLimit } from 'virtio-node/vhost-user';
import { connectTyped, firstAnswer } from '../back-end.ts';
import { deviceTypes } from '../device-types.ts';
import { usage } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { bold, formatJson, formatTable, type Output } from '../output.ts';
import { type ConfigField, decodeConfig } from './config.ts';

/** The options of `virtio probe`, as they were typed. */
export interface ProbeArguments {
  readonly type?: string;
  readonly json: boolean;
}

/** What `virtio probe` says. */
export interface Probed {
  readonly socket: string;
  /** As it was told: the protocol does not tell. */
  readonly type: string | null;
  readonly features: readonly { readonly name: string; readonly bit: number }[];
  readonly protocolFeatures: readonly string[] | null;
  readonly queues: number | null;
  readonly memorySlots: number | null;
  readonly sharedMemory: VhostUserProbe['sharedMemory'];
  readonly config: {
    /** Hexadecimal. */
    readonly bytes: string;
    readonly fields: readonly ConfigField[];
  } | null;
}

/** `virtio probe`: what is behind a vhost-user socket. The device is left as it was. */
export async function probeCommand(output: Output, socket: string, options: ProbeArguments): Promise<number> {
  const type = options.type === undefined ? undefined : typeCalled(options.type);
  const channel = connectTyped(socket);
  const found = await firstAnswer(
    socket,
    probeVhostUser(channel, new NodeDescriptors(), { limit: answerLimit() }),
  );
  const probed = describeProbe(socket, found, type);
  output.out(options.json ? formatJson({ ...probed }) : probeText(probed, output.colour));
  return 0;
}

/** A device type by its name or id. @throws {CommandError} for one that does not exist here. */
export function typeCalled(name: string): DeviceType {
  const found = deviceTypes.find(({ type }) => type.name === name || `${type.id}` === name);
  if (found !== undefined) return found.type;
  const names = deviceTypes.map(({ type }) => type.name).join(', ');
  throw usage(`--type ${name} is no device type that exists here: ${names}`);
}

/** What was found, by the names of the type if it is known. */
export function describeProbe(socket: string, found: VhostUserProbe, type: DeviceType | undefined): Probed {
  const { features, config, protocolFeatures, queues, memorySlots, unknownProtocolFeatures, sharedMemory } =
    found;
  const nameOf = (bit: number): string => type?.featureNames(FeatureSet.of([bit]))[0] ?? reservedName(bit);
  const unknown = unknownProtocolFeatures === 0n ? [] : [`0x${unknownProtocolFeatures.toString(16)}`];
  return {
    socket,
    type: type?.name ?? null,
    features: features.bits().map((bit) => ({ name: nameOf(bit), bit })),
    protocolFeatures: protocolFeatures === undefined ? null : [...protocolFeatures, ...unknown],
    queues: queues ?? null,
    memorySlots: memorySlots ?? null,
    sharedMemory,
    config:
      config === undefined
        ? null
        : {
            bytes: Buffer.from(config).toString('hex'),
            fields: type === undefined ? [] : decodeConfig(type, config, features),
          },
  };
}

const namesOfReserved = new Map<number, string>(
  Object.entries(reservedFeatures).map(([name, bit]) => [bit, name]),
);
const reservedName = (bit: number): string => namesOfReserved.get(bit) ?? `bit${bit}`;

function probeText(probed: Probed, colour: boolean): string {
  const { type, features, protocolFeatures, queues, memorySlots, sharedMemory, config } = probed;
  const none = 'none';
  const rows = [
    ['features', features.map(({ name, bit }) => `${name} (${bit})`).join(', ') || none],
    ['protocol features', protocolFeatures?.join(', ') ?? 'it knows no protocol features'],
    ['queues', queues === null ? 'it does not tell' : `${queues}`],
    ['memory slots', memorySlots === null ? 'tables of at most 8 regions' : `${memorySlots}`],
    ...sharedMemory.map(({ id, length }) => [`shared memory ${id}`, formatBytes(length)]),
    ['configuration', config === null ? 'it keeps none' : `${config.bytes.length / 2} bytes`],
    ...(config?.fields ?? []).map(({ name, value }) => [`  ${name}`, valueText(value)]),
    ...(config !== null && type === null && config.bytes.length > 0 ? hexRows(config.bytes) : []),
  ];
  const title = type === null ? 'a device of a type that the protocol does not tell (--type)' : type;
  return `${bold(`${probed.socket}: ${title}`, colour)}\n${formatTable(rows.map((row) => [`  ${row[0]}`, row[1] ?? '']))}`;
}

/** Sixteen bytes a row. */
function hexRows(bytes: string): string[][] {
  const rows: string[][] = [];
  for (let at = 0; at < bytes.length; at += 32) {
    const pairs = bytes.slice(at, at + 32).match(/../g) ?? [];
    rows.push([`  ${(at / 2).toString(16).padStart(2, '0')}`, pairs.join(' ')]);
  }
  return rows;
}

const valueText = (value: unknown): string =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
