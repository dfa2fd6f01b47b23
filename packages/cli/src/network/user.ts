import { connect } from 'virtio/link';
import { userNetwork } from 'virtio/network';
import { nodeUplink } from 'virtio-node/network';
import type { Join } from './join.ts';
import type { ForwardPlan, NetPlan } from './plan.ts';

/** Joins a device to a network in user mode: its connections become this process's own. */
export async function openUser(
  { forwards, restrict, mtu }: Extract<NetPlan, { readonly kind: 'user' }>,
  { device, options, closing }: Join,
): Promise<string[]> {
  const network = userNetwork({ uplink: nodeUplink(), restrict, ...(mtu === undefined ? {} : { mtu }) });
  closing.push(() => network.close());
  connect(device.endpoint, network, options);
  for (const { protocol, address, port, guestPort } of forwards) {
    await network.forward({ protocol, address, port, guestPort });
  }
  return [
    `10.0.2.15, this machine is 10.0.2.2${restrict ? ', and nothing else is there' : ''}`,
    ...forwards.map(lineOf),
  ];
}

const lineOf = ({ protocol, address, port, guestPort }: ForwardPlan): string =>
  `${protocol} ${address.includes(':') ? `[${address}]` : address}:${port} is the guest's port ${guestPort}`;
