import { makeNetDevice } from '../../network/device.ts';
import { openNetworks } from '../../network/open.ts';
import type { MakeDevice } from '../ready-device.ts';

export const make: MakeDevice = async ({ net: plan, capture, queues: queuePairs, ...limits }, { notice }) => {
  const { queueSize, reserved, offloads, mergeable } = limits;
  const makeDevice = () => makeNetDevice(plan, { queuePairs, queueSize, reserved, offloads, mergeable });
  const opened = await openNetworks([plan], makeDevice, capture, {
    notice: (_, message) => notice(message),
  });
  const [network] = opened.networks;
  if (network === undefined) throw new Error('a plan for one network makes one');
  return {
    device: network.device,
    lines: network.lines,
    async close() {
      await opened.close();
      if (opened.captureError !== undefined) throw opened.captureError;
    },
  };
};
