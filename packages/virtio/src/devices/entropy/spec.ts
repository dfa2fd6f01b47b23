import { deviceType } from '../../spec/device-type.ts';

/** The entropy device: a source of randomness. */
export const entropy = deviceType({
  id: 4,
  name: 'entropy',
  queues: { requestq: 0 },
  features: {},
});
