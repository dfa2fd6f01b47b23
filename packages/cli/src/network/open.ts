import type { NetDevice } from 'virtio/devices/net';
import { type HostError, VirtioError } from 'virtio/errors';
import { type Cable, Capture, connect, Switch } from 'virtio/link';
import { connectStream, listenStream, openTap, type StreamAddress } from 'virtio-node/network';
import { explain, usage } from '../exit-status.ts';
import { GatheredFile } from '../gathered-file.ts';
import { packageVersion } from '../version.ts';
import type { Join } from './join.ts';
import type { NetPlan } from './plan.ts';
import { openUser } from './user.ts';

/** Milliseconds after which somebody who is gone is looked for again. */
const reconnectAfter = 1000;

/** A network device that is connected to something. */
export interface OpenNetwork {
  readonly device: NetDevice;
  /** What there is to know of it, for people, the first line first. */
  readonly lines: readonly string[];
  /** Somebody there may give the guest an address: not on an interface of this machine's, nor on a switch of our own. */
  readonly givesAddresses: boolean;
}

/** All of them. */
export interface OpenNetworks {
  readonly networks: readonly OpenNetwork[];
  /** Lets go of everything, and finishes the capture. */
  close(): Promise<void>;
  /** Why the capture ended early, if it did. */
  readonly captureError: HostError | undefined;
}

/** Whom to tell of what becomes of networks. */
export interface NetworkEvents {
  /** @param name `net0` for the first */
  notice(name: string, message: string): void;
}

/**
 * Makes network devices and what they are connected to.
 *
 * @param makeDevice makes the device of a plan
 * @param capture a file for all frames
 * @throws {CommandError} for what is not to be had.
 */
export async function openNetworks(
  plans: readonly NetPlan[],
  makeDevice: (plan: NetPlan) => NetDevice,
  capture: string | undefined,
  events: NetworkEvents,
): Promise<OpenNetworks> {
  const file = capture === undefined ? undefined : new GatheredFile(capture, 'capture');
  const frames = file && new Capture({ write: file.write, application: `virtio-cli ${packageVersion}` });
  const networks: OpenNetwork[] = [];
  const closing: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closing.splice(0).reverse()) await one();
    file?.close();
  };
  try {
    for (const [index, plan] of plans.entries()) {
      const name = `net${index}`;
      const device = makeDevice(plan);
      const join: Join = {
        device,
        options: { watcher: frames?.interface(name, plan.text) },
        closing,
        notice: (message) => events.notice(name, message),
      };
      const givesAddresses = plan.kind === 'user' || (plan.kind === 'stream' && !plan.listens);
      networks.push({ device, lines: await openBackEnd(plan, join), givesAddresses });
    }
  } catch (error) {
    await close();
    // What is not there, or goes with nothing, was typed so.
    if (error instanceof VirtioError) throw usage(`--net ${explain(error).message}`, error);
    throw error;
  }
  return {
    networks,
    close,
    get captureError() {
      return file?.error;
    },
  };
}

/** Joins a device to what it is to be connected to, and says what that is. */
async function openBackEnd(plan: NetPlan, join: Join): Promise<readonly string[]> {
  switch (plan.kind) {
    case 'user':
      return openUser(plan, join);
    case 'stream':
      return plan.listens ? openSwitch(plan.address, join) : openStream(plan.address, join);
    case 'tap':
      return joinTap(plan, join);
  }
}

/** A connection to another program. While that is away the cable is cut, and the guest sees it. */
async function openStream(
  address: StreamAddress,
  { device, options, closing, notice }: Join,
): Promise<string[]> {
  let cable: Cable | undefined;
  const stream = await connectStream(address, {
    reconnectAfter,
    onConnected: () => cable?.mend(),
    onDisconnected: (error) => {
      cable?.cut();
      notice(`${error?.message ?? 'the other end left'}; it is looked for again`);
    },
  });
  closing.push(() => stream.close());
  cable = connect(device.endpoint, stream.endpoint, options);
  if (!stream.connected) cable.cut();
  return [`the program at ${placeOf(address)}`];
}

/** A switch, which other processes join. */
async function openSwitch(address: StreamAddress, { device, options, closing }: Join): Promise<string[]> {
  const bridge = new Switch();
  const listening = await listenStream(address, (endpoint) => {
    const port = bridge.port();
    const cable = connect(port, endpoint);
    return () => {
      cable.close();
      port.remove();
    };
  });
  closing.push(() => listening.close());
  connect(device.endpoint, bridge.port(), options);
  return [`a switch, which others join at ${placeOf(address)}`];
}

function joinTap(
  { name, queues }: Extract<NetPlan, { readonly kind: 'tap' }>,
  { device, options, closing, notice }: Join,
): string[] {
  const tap = openTap(name, {
    queues,
    onError: (error) => {
      cable.cut();
      notice(error.message);
    },
  });
  closing.push(() => tap.close());
  const cable = connect(device.endpoint, tap.endpoint, options);
  return [`the interface ${tap.name} of this machine`];
}

const placeOf = (address: StreamAddress): string =>
  'path' in address ? address.path : `${address.host}:${address.port}`;
