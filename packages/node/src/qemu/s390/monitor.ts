import { Assembler, absolute, from, type Operand, when, wordLength } from './assembler.ts';
import { instructions, interruption, mailbox, programInterruption, request } from './mailbox.ts';

/** Where the architecture has its PSWs and interruption codes in the first page. */
const architected = {
  iplPsw: 0x000,
  programCode: 0x08e,
  ioCode: 0x0b8,
  restartOldPsw: 0x120,
  restartNewPsw: 0x1a0,
  programNewPsw: 0x1d0,
  ioNewPsw: 0x1f0,
} as const;

/** Where the monitor is: all of it where an address needs no register. */
const code = 0x200;
const data = {
  sleepPsw: 0x400,
  interruptionMask: 0x410,
  bellCommand: 0x418,
  systemMask: 0x420,
  resumeAddress: 0x428,
  interruptedPsw: 0x430,
} as const;

/** PSW: addresses of 64 bits, and no interruption but those that cannot be put off. */
const awake = 0x0000_0001_8000_0000n;
/** PSW: I/O interruptions are taken, and there is nothing to do until then. */
const asleep = 0x0202_0000_0000_0000n;
/** The bit in byte 1 of a PSW that makes the processor wait. */
const waitBit = 0x02;

/** How often the monitor looks for something to do before it sleeps. */
const looks = 200;

/** General registers; 1 to 4 are those of the instructions that are executed. */
const entry = 5;
const end = 6;
const looksLeft = 7;
/** Not 0 when this process is to be told of something. */
const news = 8;
const reported = 9;
const done = 10;
const interruptions = 11;
const requests = 12;
const box = 13;

/** A field of the mailbox's first page. */
const field = (address: number): Operand => from(box, address - mailbox.requested);

/**
 * A program for a z/Architecture processor without anything else: what is to be in memory from address 0 on, with a
 * short PSW in front that starts it. It executes the instructions that it finds in the mailbox, in order, and reports I/O
 * interruptions there.
 */
export function monitorImage(): Uint8Array {
  const program = monitorProgram();
  const image = new Uint8Array(mailbox.end);
  const view = new DataView(image.buffer);
  const psw = (at: number, mask: bigint, label: string): void => {
    view.setBigUint64(at, mask);
    view.setBigUint64(at + 8, BigInt(program.addressOf(label)));
  };
  image.set(program.assemble(), code);
  view.setUint32(architected.iplPsw, 0x0008_0000);
  view.setUint32(architected.iplPsw + 4, 0x8000_0000 + program.addressOf('start'));
  psw(architected.restartNewPsw, awake, 'wake');
  psw(architected.programNewPsw, awake, 'failed');
  psw(architected.ioNewPsw, awake, 'report');
  psw(data.sleepPsw, awake | asleep, 'woken');
  // All eight subclasses of I/O interruptions.
  view.setBigUint64(data.interruptionMask, 0xff00_0000n);
  view.setUint32(data.bellCommand, writeEventData);
  view.setBigUint64(data.resumeAddress, BigInt(program.addressOf('resume')));
  image[mailbox.woken] = 1;
  image.set(bell, mailbox.bell);
  return image;
}

/** @internal */
export function monitorProgram(): Assembler {
  const program = new Assembler(code);
  // Each stands in the program itself, a branch behind it.
  program.label('instructions');
  for (const instruction of Object.values(instructions)) program.word(instruction).j('executed');
  return (
    program
      .label('start')
      .lctlg(6, 6, absolute(data.interruptionMask))
      .lghi(box, mailbox.requested)
      .lghi(requests, mailbox.requests)
      .lghi(interruptions, mailbox.interruptions)

      // Looks for something to do: `done` and `reported` count what was done, from 0.
      .label('loop')
      .lhi(looksLeft, looks)
      .label('look')
      .c(done, field(mailbox.requested))
      .brc(when.notZero, 'execute')
      .l(entry, field(mailbox.taken))
      .ahi(entry, interruption.count)
      .cr(reported, entry)
      .brc(when.cc0, 'full')
      .tpi(absolute(0))
      .brc(when.cc1, 'report')
      .ltr(news, news)
      .brc(when.notZero, 'ring')
      .brct(looksLeft, 'look')

      // Nothing for long: says that it sleeps, looks once more, and sleeps. `wake` may come in between: it has
      // the PSW that is about to be loaded not wait.
      .oi(absolute(data.sleepPsw + 1), waitBit)
      .mvi(field(mailbox.asleep), 1)
      .bcr(when.always, 0)
      .c(done, field(mailbox.requested))
      .brc(when.notZero, 'woken')
      .lpswe(absolute(data.sleepPsw))
      .label('woken')
      // It slept with I/O interruptions enabled; from here on one would come between an instruction and its answer.
      .stnsm(absolute(data.systemMask), 0)
      .mvi(field(mailbox.asleep), 0)
      .j('loop')

      // No room for interruptions: they stay pending until there is some.
      .label('full')
      .ltr(news, news)
      .brc(when.cc0, 'loop')

      // Has this process told that there is something in the mailbox.
      .label('ring')
      .lhi(news, 0)
      .l(1, absolute(data.bellCommand))
      .lghi(2, mailbox.bell)
      .servc(1, 2)
      .j('loop')

      // The next instruction of the ring: with registers 1 to 4 as it wants them.
      .label('execute')
      .llgfr(entry, done)
      .nill(entry, request.count - 1)
      .sllg(entry, entry, Math.log2(request.length))
      .agr(entry, requests)
      .lmg(1, 4, from(entry, request.registers))
      .l(end, from(entry, request.instruction))
      .llgfr(end, end)
      .sllg(end, end, Math.log2(2 * wordLength))
      .ahi(end, program.addressOf('instructions'))
      .bcr(when.always, end)
      .label('executed')
      .ipm(end)
      .srl(end, 28)
      .label('answer')
      .st(end, from(entry, request.end))
      .stg(2, from(entry, request.register2))
      .ahi(done, 1)
      .bcr(when.always, 0)
      .st(done, field(mailbox.done))
      .lhi(news, 1)
      .j('loop')

      // Program new PSW: nothing but the instruction executed can fail.
      .label('failed')
      .llgh(end, absolute(architected.programCode))
      .oilh(end, programInterruption >>> 16)
      .j('answer')

      // I/O new PSW, and what TEST PENDING INTERRUPTION has taken: the code is where both store it.
      .label('report')
      .mvi(field(mailbox.asleep), 0)
      .llgfr(entry, reported)
      .nill(entry, interruption.count - 1)
      .sllg(entry, entry, Math.log2(interruption.length))
      .agr(entry, interruptions)
      .mvc(from(entry), 12, absolute(architected.ioCode))
      .ahi(reported, 1)
      .bcr(when.always, 0)
      .st(reported, field(mailbox.reported))
      .lhi(news, 1)
      .j('loop')

      // Restart new PSW: this process wants the monitor to look again. It may come anywhere, and no register changes. The
      // next one comes no sooner than this one has said that it was seen: at the instruction that goes back, at most.
      .label('wake')
      .clc(absolute(architected.restartOldPsw + 8), 8, absolute(data.resumeAddress))
      .brc(when.cc0, 'resume')
      .mvc(absolute(data.interruptedPsw), 16, absolute(architected.restartOldPsw))
      .ni(absolute(data.interruptedPsw + 1), 0xff & ~waitBit)
      .ni(absolute(data.sleepPsw + 1), 0xff & ~waitBit)
      .mvi(field(mailbox.woken), 1)
      .label('resume')
      .lpswe(absolute(data.interruptedPsw))
  );
}

/** Command word of the service call. */
const writeEventData = 0x0076_0005;

/** Its SCCB: one event, one byte of ASCII for the operator's console. */
const bell = Uint8Array.of(
  ...[0, 15, 0, 0, 0, 0, 0, 0], // length of all
  ...[0, 7, 0x1a, 0, 0, 0], // length of the event, its type
  0x07,
);
