import { describe, expect, it } from 'vitest';
import { fine, Guest, place, rejected, type StartOptions, type Word } from './ccw.fixture.ts';
import { ccwFlag, orbCtrl0, orbCtrl1 } from './ccw.ts';
import { channelCommand } from './commands.ts';
import { activityControl, statusControl, subchannelStatus } from './status.ts';

const { NOP, SENSE_ID, TIC, READ_CONF, READ_STATUS, WRITE_STATUS } = channelCommand;
const { CC, CD, SLI, SKIP, PCI, IDA, SUSPEND, MIDA } = ccwFlag;
const programCheck = { cstat: subchannelStatus.PROGRAM_CHECK };
const wrongLength = { dstat: 0x0c, cstat: subchannelStatus.INCORRECT_LENGTH };

const live = (): Guest => new Guest().negotiate().go();
const senseId = (extra: Partial<Word> = {}): Word => ({
  code: SENSE_ID,
  count: 7,
  cda: place.data,
  flags: SLI,
  ...extra,
});
const id = [0xff, 0x38, 0x32, 20, 0, 0, 0];

describe.each([0, 1] as const)('a channel program of format %i', (format) => {
  const run = (words: readonly Word[], options: StartOptions = {}) => {
    const guest = new Guest().enable();
    return { guest, status: guest.run(words, { format, ...options }) };
  };

  it('brings what it asks for, and shows where it ended', () => {
    const { guest, status } = run([senseId()]);
    expect(status).toMatchObject({ ...fine, count: 0, cpa: place.program + 8 });
    expect([...guest.data(7)]).toEqual(id);
  });

  it('chains commands, past a transfer in channel', () => {
    const { guest, status } = run([
      { code: NOP, count: 1, flags: CC | SLI },
      { code: TIC, cda: place.program + 24 },
      { code: 0xff, count: 1 },
      senseId({ flags: CC | SLI }),
      { code: NOP, count: 1, flags: SLI },
    ]);
    expect(status).toMatchObject({ ...fine, cpa: place.program + 40 });
    expect([...guest.data(7)]).toEqual(id);
  });

  it('scatters data by data chaining, and by skipping', () => {
    const { guest, status } = run([
      senseId({ count: 1, flags: CD }),
      { code: 0, count: 2, cda: 0x3000, flags: CD | SKIP },
      { code: TIC, cda: place.program + 32 },
      { code: 0xff },
      { code: 0, count: 4, cda: 0x3010, flags: SLI },
    ]);
    expect(status).toMatchObject({ ...fine, count: 0 });
    expect(guest.data(2)[0]).toBe(0xff);
    expect([...guest.memory.read(0x3000, 2)]).toEqual([0, 0]);
    expect([...guest.memory.read(0x3010, 4)]).toEqual([20, 0, 0, 0]);
  });

  it('scatters data by indirect addresses of 31 bits', () => {
    const guest = new Guest().enable();
    guest.memory.write(0x4000, Uint8Array.of(0, 0, 0x27, 0xfd, 0, 0, 0x38, 0));
    const status = guest.run([senseId({ cda: 0x4000, flags: IDA | SLI })], { format });
    expect(status).toMatchObject(fine);
    expect([...guest.memory.read(0x27fd, 3)]).toEqual(id.slice(0, 3));
    expect([...guest.memory.read(0x3800, 4)]).toEqual(id.slice(3));
  });

  it('scatters data by indirect addresses of 64 bits, of 4 KiB or 2 KiB', () => {
    for (const [small, second] of [
      [0, 0x40],
      [orbCtrl0.IDAW_2K, 0x38],
    ] as const) {
      const guest = new Guest().enable();
      const first = small === 0 ? 0x2f : 0x27;
      guest.memory.write(0x4000, Uint8Array.of(0, 0, 0, 0, 0, 0, first, 0xff, 0, 0, 0, 0, 0, 0, second, 0));
      const ctrl0 = orbCtrl0.IDAW2 | small;
      expect(guest.run([senseId({ cda: 0x4000, flags: IDA | SLI })], { format, ctrl0 })).toMatchObject(fine);
      expect([...guest.memory.read(second * 256, 6)]).toEqual(id.slice(1));
    }
  });

  it.each([
    ['a misaligned start', [senseId()], { cpa: place.program + 4 }],
    ['a start outside memory', [], { cpa: 2 ** 20 }],
    ['a transfer in channel first', [{ code: TIC, cda: place.program + 8 }, senseId()], {}],
    [
      'a transfer to a transfer',
      [
        { code: NOP, count: 1, flags: CC | SLI },
        { code: TIC, cda: place.program + 8 },
      ],
      {},
    ],
    [
      'a transfer outside memory',
      [
        { code: NOP, count: 1, flags: CC | SLI },
        { code: TIC, cda: 0x20_0000 },
      ],
      {},
    ],
    [
      'a misaligned transfer',
      [
        { code: NOP, count: 1, flags: CC | SLI },
        { code: TIC, cda: place.program + 20 },
      ],
      {},
    ],
    ['a command of no kind', [{ code: 0x10, count: 1, cda: place.data }], {}],
    ['data outside memory', [senseId({ cda: 0x10_0000 })], {}],
    ['data across the end of memory', [senseId({ cda: 0x0f_fffc })], {}],
    ['modified indirect addresses', [senseId({ flags: MIDA })], {}],
    ['a list of addresses that is misaligned', [senseId({ cda: 0x4002, flags: IDA })], {}],
    ['a list of addresses outside memory', [senseId({ cda: 0x10_0000, flags: IDA })], {}],
    ['data chaining without bytes', [senseId({ count: 3, flags: CD }), { code: 0, count: 0 }], {}],
    ['a suspension that the ORB does not allow', [senseId({ flags: SUSPEND })], {}],
  ] as const)('is checked for %s', (_, words, options) => {
    const { guest, status } = run(words, options);
    expect(status).toMatchObject(programCheck);
    expect(status.ctrl & statusControl.ALERT).not.toBe(0);
    // The device is there as before.
    expect(guest.run([senseId()], { format })).toMatchObject(fine);
  });

  it('is checked for a second address word within a block', () => {
    const guest = new Guest().enable();
    guest.memory.write(0x4000, Uint8Array.of(0, 0, 0x27, 0xfd, 0, 0, 0x38, 8));
    expect(guest.run([senseId({ cda: 0x4000, flags: IDA | SLI })], { format })).toMatchObject(programCheck);
  });

  it('ends although it runs in a circle', () => {
    const { status } = run([
      { code: NOP, count: 1, flags: CC | SLI },
      { code: TIC, cda: place.program },
    ]);
    expect(status).toMatchObject(programCheck);
  });

  it('ends although its data chain has no end', () => {
    const { status } = run([
      { code: READ_CONF, count: 1, cda: place.data, flags: CD },
      { code: TIC, cda: place.program },
    ]);
    // The command is rejected before it looks for data: no revision is set.
    expect(status).toMatchObject(rejected);
    const guest = live();
    const chain = [
      { code: WRITE_STATUS, count: 1, cda: place.data, flags: CD | CC },
      { code: TIC, cda: place.program },
    ];
    expect(guest.run(chain, { format })).toMatchObject(wrongLength);
  });

  it('shows a program-controlled interruption with its end', () => {
    const { status } = run([senseId({ flags: PCI | SLI })]);
    expect(status).toMatchObject({ dstat: 0x0c, cstat: subchannelStatus.PROGRAM_CONTROLLED_INTERRUPTION });
    expect(status.ctrl & statusControl.INTERMEDIATE).not.toBe(0);
  });
});

describe('the length of a command', () => {
  // @holds 4.3.1.3 device: Virtio Transport Options / Virtio over channel I/O / Basic Concepts
  it('is shown to be incorrect, too short or too long, and ends the chain', () => {
    const guest = live();
    const nop = { code: NOP, count: 1, flags: SLI };
    for (const [count, left] of [
      [2, 1],
      [300, 299],
    ] as const) {
      const words = [{ code: READ_STATUS, count, cda: place.data, flags: CC }, nop];
      const status = guest.run(words);
      expect(status).toMatchObject({ ...wrongLength, count: left, cpa: place.program + 8 });
    }
    expect(guest.command('SET_IND', new Uint8Array(7))).toMatchObject({ ...wrongLength, count: 0 });
    expect(guest.command('SET_CONF_IND', new Uint8Array(9))).toMatchObject({ ...wrongLength, count: 1 });
  });

  // @holds 4.3.1.3 device: Virtio Transport Options / Virtio over channel I/O / Basic Concepts
  it('may be too long where it is suppressed, never too short', () => {
    const guest = live();
    expect(guest.command('READ_STATUS', 20, { flags: SLI })).toMatchObject({ ...fine, count: 19 });
    expect(guest.command('SET_IND', new Uint8Array(20), { flags: SLI })).toMatchObject({
      ...fine,
      count: 12,
    });
    for (const name of [
      'SET_IND',
      'SET_VQ',
      'SET_IND_ADAPTER',
      'WRITE_FEAT',
      'READ_FEAT',
      'READ_VQ_CONF',
    ] as const) {
      expect(guest.command(name, new Uint8Array(3), { flags: SLI })).toMatchObject({
        ...rejected,
        count: expect.any(Number),
      });
    }
  });

  it('goes on with the chain where it is suppressed', () => {
    const guest = live();
    const words = [
      { code: READ_STATUS, count: 20, cda: place.data, flags: CC | SLI },
      { code: NOP, count: 1, flags: SLI },
    ];
    expect(guest.run(words)).toMatchObject({ ...fine, cpa: place.program + 16 });
  });

  it('is not suppressed while data are chained', () => {
    const guest = live();
    const words = [
      { code: READ_STATUS, count: 1, cda: place.data, flags: CD | SLI },
      { code: 0, count: 1, cda: place.data, flags: SLI },
    ];
    expect(guest.run(words)).toMatchObject(wrongLength);
  });

  it('of a command without data matters in format 1 alone, and there unless the ORB says so', () => {
    const guest = new Guest().enable();
    const nop = [{ code: NOP, count: 5, cda: place.data }];
    expect(guest.run(nop, { format: 0 })).toMatchObject({ ...fine, count: 5 });
    expect(guest.run(nop)).toMatchObject({ ...wrongLength, count: 5 });
    expect(guest.run(nop, { ctrl1: orbCtrl1.LENGTH_SUPPRESSION })).toMatchObject(fine);
    expect(guest.run([{ code: NOP }])).toMatchObject(fine);
    expect(guest.run([{ code: NOP }], { format: 0 })).toMatchObject(programCheck);
  });
});

describe('formats', () => {
  it('differ in how far their addresses reach', () => {
    const guest = new Guest().enable();
    guest.memory.addRegion(2 ** 24, { buffer: new ArrayBuffer(4096) });
    guest.writeWord(2 ** 24, { code: NOP, count: 1, flags: SLI });
    expect(guest.run([], { cpa: 2 ** 24 })).toMatchObject(fine);
    expect(guest.run([], { cpa: 2 ** 24, format: 0 })).toMatchObject(programCheck);
    expect(guest.run([{ code: NOP, flags: SLI, cda: 2 ** 31 }])).toMatchObject(programCheck);
  });

  it('differ in what a transfer in channel may hold', () => {
    const guest = new Guest().enable();
    const words = [
      { code: NOP, count: 1, flags: CC | SLI },
      { code: 0x58, count: 3, flags: 0x80, cda: place.program + 16 },
      { code: NOP, count: 1, flags: SLI },
    ];
    expect(guest.run(words, { format: 0 })).toMatchObject(fine);
    expect(guest.run(words)).toMatchObject(programCheck);
  });
});

describe('a program that suspends', () => {
  const words = [
    { code: NOP, flags: CC | SLI },
    { code: SENSE_ID, count: 7, cda: place.data, flags: SUSPEND | SLI },
  ];

  it('waits, and goes on when it is resumed', () => {
    const guest = new Guest().enable();
    const status = guest.run(words, { ctrl0: orbCtrl0.SUSPEND });
    expect(status).toMatchObject({ dstat: 0, cstat: 0 });
    expect(status.ctrl & activityControl.SUSPENDED).not.toBe(0);
    expect([...guest.data(1)]).toEqual([0]);
    expect(guest.start([{ code: NOP }])).toBe(2);
    expect(guest.css.resumeSubchannel(guest.schid)).toBe(0);
    expect(guest.test().status).toMatchObject(fine);
    expect([...guest.data(7)]).toEqual(id);
    expect(guest.css.resumeSubchannel(guest.schid)).toBe(2);
    expect(guest.interruptions).toHaveLength(2);
  });

  it('does so silently where the ORB says so', () => {
    const guest = new Guest().enable();
    expect(guest.start(words, { ctrl0: orbCtrl0.SUSPEND | orbCtrl0.SUPPRESS_SUSPENDED })).toBe(0);
    expect(guest.interruptions).toEqual([]);
    expect(guest.test().cc).toBe(1);
    expect(guest.css.resumeSubchannel(guest.schid)).toBe(0);
    expect(guest.test().status).toMatchObject(fine);
  });

  it('can be cancelled, halted and cleared', () => {
    const guest = new Guest().enable();
    const suspend = () => guest.run(words, { ctrl0: orbCtrl0.SUSPEND });
    suspend();
    expect(guest.css.cancelSubchannel(guest.schid)).toBe(0);
    expect(guest.css.cancelSubchannel(guest.schid)).toBe(2);
    for (const end of ['haltSubchannel', 'clearSubchannel'] as const) {
      suspend();
      expect(guest.css[end](guest.schid)).toBe(0);
      expect(guest.test().cc).toBe(0);
      expect(guest.css.resumeSubchannel(guest.schid)).toBe(2);
      expect(guest.run([{ code: NOP }])).toMatchObject(fine);
    }
  });
});
