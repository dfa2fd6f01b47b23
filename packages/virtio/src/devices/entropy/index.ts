export { entropyDevice } from './device.ts';
export { type OpenEntropy, openEntropy } from './driver.ts';
export { entropy } from './spec.ts';
