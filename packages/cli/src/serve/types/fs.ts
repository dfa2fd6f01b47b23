import { HostError } from 'virtio/errors';
import { openServedShare } from '../../share/open.ts';
import type { MakeDevice } from '../ready-device.ts';

export const make: MakeDevice = async ({ share, queues, queueSize, reserved }, { onError }) => {
  if (share === undefined) throw new Error('a plan for a share has one');
  const opened = openServedShare(share, { queues, queueSize, reserved }, (error) => {
    if (error instanceof HostError) onError(error);
  });
  return { device: opened.device, close: async () => opened.close() };
};
