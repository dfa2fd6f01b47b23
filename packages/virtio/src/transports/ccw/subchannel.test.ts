import { describe, expect, it } from 'vitest';
import { Allocator } from '../../memory/allocator.ts';
import { be64 } from '../../spec/layout.ts';
import { fine, Guest, place, rejected, sampleDevice } from './ccw.fixture.ts';
import { orb, orbCtrl0 } from './ccw.ts';
import { programInterruption } from './channel-subsystem.ts';
import { channelCommand } from './commands.ts';
import { channelSubsystemIo } from './connect.ts';
import { pmcwChars, pmcwFlag, schib, schidOf } from './schib.ts';
import { concurrentSense, functionControl, irb, scswFlag, statusControl } from './status.ts';

const { PENDING, PRIMARY, SECONDARY, ALERT } = statusControl;
const nop = [{ code: channelCommand.NOP }];

describe('a subchannel', () => {
  it('is found with its device number and its one path', () => {
    const guest = new Guest({ devno: 0x4711 });
    expect(guest.css.storeSubchannel(guest.schid, place.schib)).toBe(0);
    const { pmcw, scsw } = guest.schib();
    expect(pmcw).toMatchObject({ devno: 0x4711, pim: 0x80, pam: 0x80, pom: 0xff, lpm: 0x80, pnom: 0 });
    expect(pmcw.flags).toBe(pmcwFlag.DEVICE_NUMBER_VALID);
    expect(scsw.ctrl).toBe(0);
  });

  it('is not operational while it is disabled', () => {
    const guest = new Guest();
    expect(guest.start(nop)).toBe(3);
    expect(guest.test().cc).toBe(3);
    for (const name of ['halt', 'clear', 'resume', 'cancel'] as const) {
      expect(guest.css[`${name}Subchannel`](guest.schid)).toBe(3);
    }
    expect(guest.enable().start(nop)).toBe(0);
  });

  it('presents the end of a program once, with its parameter and its subclass', () => {
    const guest = new Guest().enable({ isc: 5 });
    expect(guest.start(nop)).toBe(0);
    expect(guest.css.isPending(guest.schid)).toBe(true);
    expect(guest.interruptions).toEqual([{ schid: guest.schid, parameter: 0x1234, isc: 5 }]);
    const { cc, status } = guest.test();
    expect(cc).toBe(0);
    expect(status).toMatchObject(fine);
    expect(status.ctrl).toBe(functionControl.START | PRIMARY | SECONDARY | PENDING);
    expect(guest.css.isPending(guest.schid)).toBe(false);
    const again = guest.test();
    expect(again.cc).toBe(1);
    expect(again.status.ctrl).toBe(0);
    expect(guest.interruptions).toHaveLength(1);
  });

  it('takes no other program while status is pending, and no change', () => {
    const guest = new Guest().enable();
    guest.start(nop);
    expect(guest.start(nop)).toBe(1);
    expect(guest.css.modifySubchannel(guest.schid, place.schib)).toBe(1);
    expect(guest.css.haltSubchannel(guest.schid)).toBe(1);
    expect(guest.css.resumeSubchannel(guest.schid)).toBe(1);
    expect(guest.css.cancelSubchannel(guest.schid)).toBe(1);
    guest.test();
    expect(guest.css.modifySubchannel(guest.schid, place.schib)).toBe(0);
  });

  it('has one path, which a program must want', () => {
    const guest = new Guest().enable();
    expect(guest.start(nop, { lpm: 0x7f })).toBe(3);
    expect(guest.start(nop, { lpm: 0xff })).toBe(0);
  });

  it('shows the key and the rest of what its ORB said', () => {
    const guest = new Guest().enable();
    const ctrl0 = 0x5000 | orbCtrl0.PREFETCH;
    expect(guest.run(nop, { ctrl0 }).flags).toBe(ctrl0 | orbCtrl0.FORMAT1);
  });

  it('gives sense data with the status where the program wants that', () => {
    const guest = new Guest().enable();
    expect(guest.command('READ_CONF', 1)).toMatchObject(rejected);
    const { scsw, esw } = irb.read(guest.view(place.irb, irb.size));
    expect(esw.slice(0, 2)).toEqual([0x0080_0000, concurrentSense]);
    expect(scsw.flags & scswFlag.EXTENDED_CONTROL).not.toBe(0);
    expect(scsw.ctrl & ALERT).not.toBe(0);
    // They are gone, then.
    expect(guest.command('SENSE', 32)).toMatchObject(fine);
    expect([...guest.data(2)]).toEqual([0, 0]);
  });

  it('keeps sense data for SENSE where the program does not', () => {
    const guest = new Guest().enable({ sense: false });
    expect(guest.command('READ_CONF', 1)).toMatchObject({ dstat: 0x0e, sense: 0 });
    guest.run(nop);
    expect(guest.command('SENSE', 32)).toMatchObject(fine);
    expect([...guest.data(2)]).toEqual([0x80, 0]);
    expect(guest.command('SENSE', 32)).toMatchObject(fine);
    expect(guest.data(1)[0]).toBe(0);
  });

  it('halts and clears, which is status too', () => {
    const guest = new Guest().enable();
    expect(guest.css.haltSubchannel(guest.schid)).toBe(0);
    expect(guest.css.haltSubchannel(guest.schid)).toBe(1);
    expect(guest.start(nop)).toBe(1);
    const halted = guest.test();
    expect([halted.cc, halted.status.ctrl]).toEqual([0, functionControl.HALT | PENDING]);
    guest.start(nop);
    expect(guest.css.clearSubchannel(guest.schid)).toBe(0);
    const cleared = guest.test();
    expect([cleared.cc, cleared.status.ctrl]).toEqual([0, functionControl.CLEAR | PENDING]);
    expect(guest.run(nop)).toMatchObject(fine);
  });

  it('tells of the device by itself only when nothing is pending, and after a program that is at work', () => {
    const guest = new Guest().negotiate();
    guest.setIndicators('SET_CONF_IND', 0x8000);
    guest.enableQueue(0);
    guest.go();
    guest.interruptions.length = 0;
    guest.device.updateConfig({ short: 1 });
    guest.device.updateConfig({ short: 2 });
    expect(guest.interruptions).toHaveLength(1);
    const { status } = guest.test();
    expect(status).toMatchObject({ dstat: 0, cstat: 0, ctrl: ALERT | PENDING });
    expect(guest.test().cc).toBe(1);
  });

  it('holds what the device has to tell until the end of the program has been taken', () => {
    const behaviour = { writeConfig: (): void => guest.device.updateConfig({ short: 7 }) };
    const guest: Guest = new Guest({}, behaviour).negotiate();
    guest.setIndicators('SET_CONF_IND', 0x8000);
    guest.go();
    guest.interruptions.length = 0;
    expect(guest.command('WRITE_CONF', new Uint8Array(20))).toMatchObject(fine);
    expect(guest.interruptions).toHaveLength(2);
    expect(guest.test().status.ctrl).toBe(ALERT | PENDING);
    expect(guest.view(0x8000, 8).getBigUint64(0)).toBe(1n);
  });

  it('does not lose status that cannot be stored', () => {
    const guest = new Guest().enable();
    guest.start(nop);
    expect(guest.css.testSubchannel(guest.schid, 2 ** 20)).toBe(programInterruption.ADDRESSING);
    expect(guest.test().cc).toBe(0);
  });
});

describe('a channel subsystem', () => {
  it('has holes, and an end', () => {
    const guest = new Guest({ subchannel: 5 });
    expect(guest.schid).toBe(schidOf(5));
    expect(guest.css.schids).toEqual([schidOf(5)]);
    expect(guest.css.storeSubchannel(schidOf(2), place.schib)).toBe(0);
    expect(guest.schib().pmcw.flags).toBe(0);
    expect(guest.css.storeSubchannel(schidOf(6), place.schib)).toBe(3);
    expect(guest.css.modifySubchannel(schidOf(2), place.schib)).toBe(3);
    expect(guest.css.startSubchannel(schidOf(2), place.orb)).toBe(3);
    expect(guest.css.testSubchannel(schidOf(2), place.irb)).toBe(3);
    expect(guest.css.haltSubchannel(schidOf(2))).toBe(3);
    expect(guest.css.clearSubchannel(schidOf(2))).toBe(3);
  });

  it('gives out numbers, and refuses those that are taken or none', () => {
    const guest = new Guest();
    const second = guest.css.add(sampleDevice());
    expect(second).toBe(schidOf(1));
    for (const wrong of [
      { devno: 0x1000 },
      { subchannel: 1 },
      { devno: -1 },
      { subchannel: 0x1_0000 },
      { devno: 1.5 },
    ]) {
      expect(() => guest.css.add(sampleDevice(), wrong)).toThrow(/is taken, or not between/);
    }
    expect(() => guest.css.unit(schidOf(9))).toThrow(/has no device/);
  });

  it('lets a device go, for another to have', () => {
    const guest = new Guest();
    guest.css.remove(guest.schid);
    expect(guest.css.schids).toEqual([]);
    expect(guest.kick(0)).toBeLessThan(0n);
    expect(guest.css.add(guest.device)).toBe(guest.schid);
  });

  it('ends instructions with program interruptions where their operands are wrong', () => {
    const { css, schid, memory } = new Guest().enable();
    const { ADDRESSING, SPECIFICATION, OPERAND } = programInterruption;
    for (const name of ['start', 'test', 'store', 'modify'] as const) {
      const call = (id: number, at: number): number => css[`${name}Subchannel`](id, at);
      expect(call(schid, 0x102)).toBe(SPECIFICATION);
      expect(call(schid, 2 ** 20)).toBe(ADDRESSING);
      expect(call(schid & 0xffff, 0x100)).toBe(OPERAND);
    }
    for (const name of ['halt', 'clear', 'resume', 'cancel'] as const) {
      expect(css[`${name}Subchannel`](schid & 0xffff)).toBe(OPERAND);
    }
    for (const wrong of [{ cpa: 2 ** 31 }, { ctrl0: orbCtrl0.TRANSPORT_MODE }, { ctrl1: 0x20 }]) {
      memory.write(place.orb, orb.encode({ lpm: 0x80, ...wrong }));
      expect(css.startSubchannel(schid, place.orb)).toBe(OPERAND);
    }
    const { pmcw } = schib.read(new DataView(memory.read(place.schib, schib.size).buffer));
    for (const wrong of [{ flags: 0x0100 }, { chars: 0x8 }, { chars: pmcwChars.EXTENDED_MEASUREMENTS }]) {
      memory.write(place.schib, schib.encode({ pmcw: { ...pmcw, ...wrong } }));
      expect(css.modifySubchannel(schid, place.schib)).toBe(OPERAND);
    }
  });

  it('throws a program interruption at a program in the same process', async () => {
    const { memory, css } = new Guest();
    expect(css.schids).toHaveLength(1);
    const { io } = channelSubsystemIo(memory, new Allocator(4096, 4096));
    await expect(io.storeSubchannel(schidOf(0), 0x102)).rejects.toThrow(/program interruption 0x6/);
  });

  it('is reset as a whole: devices at rest, subchannels disabled', () => {
    const guest = new Guest().negotiate().go();
    guest.start(nop);
    guest.css.reset();
    expect(guest.unit.core.status).toBe(0);
    expect(guest.unit.revision).toBeUndefined();
    expect(guest.css.isPending(guest.schid)).toBe(false);
    expect(guest.start(nop)).toBe(3);
    expect(guest.enable().run(nop)).toMatchObject(fine);
  });
});

describe('a notification by hypercall', () => {
  // @holds 4.3.3.2.1 device: Virtio Transport Options / Virtio over channel I/O / Device Operation / Guest->Host Notification
  it('does not look at the upper half of the register that holds the subchannel', () => {
    const guest = new Guest({}, { serve: { first: () => {} } }).negotiate();
    guest.enableQueue(0);
    guest.go();
    guest.offer(0);
    const cookie = guest.css.notify(0xdead_beef_0000_0000n | BigInt(guest.schid), 0n, 0n);
    expect(guest.used(0)).toBe(1);
    expect(cookie).toBeGreaterThanOrEqual(0n);
    guest.offer(0, 2);
    expect(guest.kick(0, cookie)).toBe(cookie);
    expect(guest.used(0)).toBe(2);
  });

  it('finds the device with any cookie, or none', () => {
    const guest = new Guest({}, { serve: { first: () => {} } }).negotiate();
    guest.css.add(sampleDevice());
    guest.enableQueue(0);
    guest.go();
    for (const [i, cookie] of [0n, 2n, 3n, -1n, 2n ** 63n, 2n ** 64n - 1n].entries()) {
      guest.offer(0, i + 1);
      expect(guest.kick(0, cookie)).toBe(1n);
      expect(guest.used(0)).toBe(i + 1);
    }
  });

  it('is refused for what does not exist, and named', () => {
    const guest = new Guest().negotiate().go();
    expect(guest.kick(77)).toBeLessThan(0n);
    expect(guest.css.notify(BigInt(guest.schid + 1), 0n, 0n)).toBeLessThan(0n);
    expect(guest.kick(0x1_0000)).toBeGreaterThan(0n);
    expect(guest.codes).toEqual(Array(3).fill('NOTIFICATION_UNEXPECTED'));
  });

  it('carries data where they were negotiated', () => {
    const guest = new Guest({}, { serve: { first: () => {} } }).negotiate(2, 38);
    guest.enableQueue(0);
    guest.go();
    guest.offer(0);
    expect(guest.css.notify(BigInt(guest.schid), 0x0001_0000n, 0n)).toBe(1n);
    expect(guest.used(0)).toBe(1);
    expect(guest.errors).toEqual([]);
  });
});

describe('a saved device', () => {
  it('goes on where it was: program, status, indicators, rings', () => {
    const behaviour = { serve: { first: () => {} } };
    const guest = new Guest({}, behaviour).negotiate();
    guest.setIndicators('SET_IND', 0x8000);
    guest.enableQueue(0);
    guest.go();
    guest.start([{ code: channelCommand.SENSE_ID, count: 1, cda: place.data }]);
    const state = JSON.parse(JSON.stringify(guest.css.save(guest.schid)));

    const after = new Guest({}, behaviour);
    after.memory.write(0, guest.memory.read(0, 2 ** 20));
    after.css.restore(after.schid, state);
    expect(after.interruptions).toEqual([]);
    after.css.resume(after.schid);
    expect(after.interruptions).toHaveLength(1);
    expect(after.unit.revision).toBe(2);
    expect(after.test().cc).toBe(0);
    after.offer(0);
    after.kick(0);
    expect(after.used(0)).toBe(1);
    expect(be64.at(0).get(after.view(0x8000, 8))).toBe(1n);
  });

  it('keeps a program that is suspended, and sense data', () => {
    const guest = new Guest().enable();
    const words = [{ code: channelCommand.SENSE_ID, count: 7, cda: place.data, flags: 0x22 }];
    guest.run(words, { ctrl0: orbCtrl0.SUSPEND });
    const after = new Guest();
    after.memory.write(0, guest.memory.read(0, 2 ** 20));
    after.css.restore(after.schid, JSON.parse(JSON.stringify(guest.css.save(guest.schid))));
    expect(after.css.resumeSubchannel(after.schid)).toBe(0);
    expect(after.test().status).toMatchObject(fine);

    after.start([{ code: 0xff }]);
    const third = new Guest();
    third.css.restore(third.schid, JSON.parse(JSON.stringify(after.css.save(after.schid))));
    expect(third.test().status).toMatchObject(rejected);
  });
});
