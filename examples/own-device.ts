/**
 * A device type of one's own: its table, its device and its driver, then both in one process.
 * `npm run build && npx tsx examples/own-device.ts`
 */
import { type Device, device } from 'virtio/device';
import { open, type Transport } from 'virtio/driver';
import { deviceType, le16, le32, struct, tail } from 'virtio/spec';
import { Loopback } from 'virtio/transports/loopback';

/** The table, which both sides read. 60 is an id that the specification has not given away. */
const dice = deviceType({
  id: 60,
  name: 'dice',
  features: { MANY: 0 },
  queues: { rollq: 0 },
  config: struct('dice_config', { sides: le32 }),
});

const rollRequest = struct('dice_roll', { count: le16 });
const rollResponse = struct('dice_rolled', { rolls: tail(le32) });

/** The device: behaviour, and nothing else. */
function diceDevice(sides: number): Device<typeof dice> {
  return device(dice, {
    offers: ['MANY'],
    config: { sides },
    serve: {
      rollq({ readable, writable }) {
        const { count } = readable.struct(rollRequest);
        const fits = Math.min(count, writable.length / 4);
        for (let roll = 0; roll < fits; roll++) writable.u32(1 + Math.floor(Math.random() * sides));
      },
    },
  });
}

/** The driver: the same code over every transport. */
async function openDice(transport: Transport) {
  const opened = await open(transport, dice, { features: ['MANY'] });
  return {
    sides: opened.config.sides ?? 6,
    async roll(count: number): Promise<readonly number[]> {
      const response = await opened.queue('rollq').request(rollRequest.encode({ count }), 4 * count);
      return rollResponse.read(new DataView(response.buffer, response.byteOffset, response.length)).rolls;
    },
    close: () => opened.close(),
  };
}

const opened = await openDice(new Loopback(diceDevice(20)));
console.log(`a die of ${opened.sides} sides: ${(await opened.roll(5)).join(' ')}`);
await opened.close();
