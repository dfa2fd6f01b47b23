import { describe, expect, it } from 'vitest';
import { Assembler, absolute, from, when } from './assembler.ts';
import { mailbox } from './mailbox.ts';
import { monitorImage, monitorProgram } from './monitor.ts';

const hex = (program: Assembler): string => Buffer.from(program.assemble()).toString('hex');

describe('the assembler', () => {
  it('encodes each format as the architecture has it', () => {
    expect(hex(new Assembler(0).l(5, from(13, 4)))).toBe('5850d004');
    expect(hex(new Assembler(0).lghi(13, 0x2000))).toBe('a7d92000');
    expect(hex(new Assembler(0).lmg(1, 4, from(5, 8)))).toBe('eb1450080004');
    expect(hex(new Assembler(0).sllg(5, 5, 6))).toBe('eb550006000d');
    expect(hex(new Assembler(0).mvc(from(5), 12, absolute(0xb8)))).toBe('d20b500000b8');
    expect(hex(new Assembler(0).lpswe(absolute(0x400)))).toBe('b2b20400');
    expect(hex(new Assembler(0).stnsm(absolute(0x420), 0))).toBe('ac000420');
    expect(hex(new Assembler(0).word(0xb233_2000))).toBe('b2332000');
    expect(hex(new Assembler(0).bcr(when.always, 0))).toBe('07f0');
  });

  it('branches by halfwords, forwards and backwards', () => {
    const program = new Assembler(0x200).label('here').j('there').j('here').label('there');
    expect(hex(program)).toBe('a7f40004a7f4fffe');
    expect(program.addressOf('there')).toBe(0x208);
    expect(() => program.addressOf('nowhere')).toThrow('there is no label nowhere');
  });
});

describe('the monitor', () => {
  it('stands in front of its data', () => {
    expect(0x200 + monitorProgram().assemble().length).toBeLessThanOrEqual(0x400);
  });

  it('is started by a short PSW, and leaves the mailbox empty', () => {
    const image = monitorImage();
    const view = new DataView(image.buffer);
    expect(view.getUint32(0)).toBe(0x0008_0000);
    expect(view.getUint32(4)).toBe(0x8000_0000 + monitorProgram().addressOf('start'));
    const set = [...image.subarray(mailbox.requested, mailbox.bell).keys()].filter(
      (at) => image[mailbox.requested + at] !== 0,
    );
    expect(set).toEqual([mailbox.woken - mailbox.requested]);
  });
});
