import { describe, expect, it, vi } from 'vitest';
import type { Device } from '../device/device.ts';
import { type TraceEvent, withMessages } from '../device/trace.ts';
import {
  type MessageReader,
  type TracedBytes,
  type TracedStructure,
  tracedFields,
  tracedStructure,
} from '../device/traced-messages.ts';
import { blkDevice, blkMessages, memoryStorage, openBlk } from '../devices/blk/index.ts';
import { consoleDevice, consoleMessages, openConsole } from '../devices/console/index.ts';
import { fsDevice, fsMessages, memoryFiles, openFs } from '../devices/fs/index.ts';
import { netDevice, netMessages, openNet } from '../devices/net/index.ts';
import { openVsock, vsockDevice, vsockMessages } from '../devices/vsock/index.ts';
import { connect } from '../link/index.ts';
import { bytes, le16, le64, struct, u8 } from '../spec/layout.ts';
import { Loopback } from '../transports/loopback/loopback.ts';

/** A device whose messages are noted as `queue taken kind` and `queue given kind`. */
function traced(device: Device, reader: MessageReader) {
  const notes: string[] = [];
  const structures: TracedStructure[] = [];
  const note = (event: TraceEvent): void => {
    if (event.kind !== 'chain' && event.kind !== 'complete') return;
    const { queue, message = [] } = event;
    structures.push(...message);
    const what = message.map(({ name, kind }) => kind ?? name).join('+');
    if (what !== '') notes.push(`${queue} ${event.kind === 'chain' ? 'taken' : 'given'} ${what}`);
  };
  return { transport: new Loopback(device, { trace: withMessages(note, reader) }), notes, structures };
}

describe('what a trace tells of messages', () => {
  it('has the requests of a disk', async () => {
    const { transport, notes, structures } = traced(
      blkDevice({ storage: memoryStorage(2 ** 20) }),
      blkMessages,
    );
    const disk = await openBlk(transport);
    await disk.write(7, new Uint8Array(512));
    await disk.read(7, 1);
    await disk.close();
    expect(notes.slice(0, 4)).toEqual([
      'requestq1 taken OUT',
      'requestq1 given OK',
      'requestq1 taken IN',
      'requestq1 given OK',
    ]);
    expect(structures[0]).toEqual({
      name: 'virtio_blk_req',
      kind: 'OUT',
      fields: { type: 1, reserved: 0, sector: 7 },
    });
    expect(structures[1]?.fields).toEqual({ status: 0 });
  });

  it('has the headers of frames as long as they are, and commands', async () => {
    const made = [netDevice(), netDevice()] as const;
    const [left, right] = made.map((device) => traced(device, netMessages));
    connect(made[0].endpoint, made[1].endpoint);
    const cards = [await openNet(left!.transport), await openNet(right!.transport)] as const;
    await cards[0].setMode('promiscuous', true);
    await cards[0].send(Uint8Array.from({ length: 60 }, () => 0xff));
    await vi.waitFor(() => expect(right!.notes).toContain('receiveq1 given virtio_net_hdr'));
    for (const card of cards) await card.close();
    expect(left!.notes).toContain('controlq taken RX.PROMISC');
    expect(left!.notes).toContain('controlq given OK');
    expect(left!.notes).toContain('transmitq1 taken virtio_net_hdr');
    const header = right!.structures.find(({ name }) => name === 'virtio_net_hdr');
    // With tunnels it has 24 bytes; what only longer ones have is not told.
    expect(Object.keys(header?.fields ?? {}).at(-1)).toBe('inner_nh_offset');
  });

  it('has the requests of FUSE, and what they are answered', async () => {
    const { transport, notes, structures } = traced(fsDevice({ tag: 'a', files: memoryFiles() }), fsMessages);
    const files = await openFs(transport);
    await files.writeFile('name', Uint8Array.of(1, 2, 3));
    await expect(files.readFile('nothing')).rejects.toThrow();
    await files.close();
    expect(notes.slice(0, 2)).toEqual([
      'requestq1 taken INIT+fuse_init_in',
      'requestq1 given INIT+fuse_init_out',
    ]);
    expect(notes).toContain('requestq1 taken WRITE+fuse_write_in');
    expect(notes).toContain('requestq1 given WRITE+fuse_write_out');
    // An error has nothing behind its header.
    expect(notes).toContain('requestq1 given LOOKUP');
    expect(structures.find(({ name }) => name === 'fuse_write_in')?.fields).toMatchObject({ size: 3 });
  });

  it('has packets of sockets, and control messages of a console', async () => {
    const sockets = traced(vsockDevice({ guestCid: 3 }), vsockMessages);
    const host = await openVsock(sockets.transport);
    await host.connect(1).catch(() => {});
    await host.close();
    expect(sockets.notes.slice(0, 2)).toEqual(['tx taken REQUEST', 'rx given RST']);
    const terminal = traced(consoleDevice({ ports: [{ name: 'one' }] }), consoleMessages);
    const opened = await openConsole(terminal.transport);
    await vi.waitFor(() => expect(terminal.notes.join()).toContain('PORT_NAME'));
    await opened.close();
    expect(terminal.notes[0]).toBe('control transmitq taken DEVICE_READY');
    expect(terminal.notes).toContain('control receiveq given DEVICE_ADD');
  });
});

const layout = struct('sample', { little: u8, wide: le64, raw: bytes(2), last: le16 });
const inMemory = (data: Uint8Array): TracedBytes => ({
  length: data.length,
  bytes: (at, count) => data.subarray(at, at + count),
});

describe('a structure in a trace', () => {
  it('is JSON: what is too large for its numbers and what are no numbers are digits', () => {
    const data = layout.encode({ little: 1, wide: 2n ** 60n, raw: Uint8Array.of(0xab, 1), last: 5 });
    const fields = { little: 1, wide: '0x1000000000000000', raw: 'ab01', last: 5 };
    expect(tracedStructure(layout, inMemory(data), 0, 'A')).toEqual([{ name: 'sample', kind: 'A', fields }]);
  });

  it('is told of when it is all there, or as far as was asked', () => {
    const short = inMemory(new Uint8Array(11));
    expect(tracedStructure(layout, short)).toEqual([]);
    expect(tracedFields(layout, short, 0, 11)).toEqual([
      { name: 'sample', fields: { little: 0, wide: 0, raw: '0000' } },
    ]);
    for (const reader of [blkMessages, consoleMessages, fsMessages, netMessages, vsockMessages]) {
      for (const queue of [
        'requestq',
        'controlq',
        'control receiveq',
        'receiveq1',
        'event',
        'notification',
      ]) {
        const message = { queue, has: () => true, readable: inMemory(new Uint8Array(1)) };
        for (const written of [undefined, inMemory(new Uint8Array(0)), inMemory(new Uint8Array(1))])
          expect(() => reader({ ...message, written })).not.toThrow();
      }
    }
  });
});
