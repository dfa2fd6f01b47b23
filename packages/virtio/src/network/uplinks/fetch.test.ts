import { describe, expect, it } from 'vitest';
import { type FetchInit, type FetchOptions, fetchUplink, type ResponseLike } from './fetch.ts';
import { addressOf, decode, encode, stationOver, textOf } from './joined.fixture.ts';

/** A `fetch` that answers with what it was asked, in these pieces. */
function answering(pieces: readonly string[], { status = 200, statusText = 'OK' } = {}) {
  const asked: { url: string; init: FetchInit }[] = [];
  const fetch = async (url: string, init: FetchInit): Promise<ResponseLike> => {
    asked.push({ url, init });
    const left = pieces.map(encode);
    return {
      status,
      statusText,
      headers: new Map([
        ['content-type', 'text/plain'],
        ['content-encoding', 'gzip'],
        ['content-length', '3'],
      ]),
      body: {
        getReader: () => ({
          async read() {
            const value = left.shift();
            return { done: value === undefined, value };
          },
          async cancel() {},
        }),
      },
    };
  };
  return { asked, fetch };
}

async function talk(options: FetchOptions, request: string): Promise<string> {
  const station = stationOver(fetchUplink(options));
  const stream = await station.connect(await addressOf(station, 'example.org'), 80);
  await stream.write(encode(request));
  stream.end();
  return await textOf(stream);
}

describe('the web by fetch', () => {
  it('answers a request', async () => {
    const { asked, fetch } = answering(['Hello ', 'world']);
    const answer = await talk(
      { fetch },
      'GET /a?b HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\nTE: x\r\n\r\n',
    );
    expect(asked).toEqual([
      { url: 'http://example.org/a?b', init: { method: 'GET', headers: [['accept', '*/*']] } },
    ]);
    expect(answer).toBe(
      'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n' +
        '6\r\nHello \r\n5\r\nworld\r\n0\r\n\r\n',
    );
  });

  it('answers several over one connection, one after the other', async () => {
    const { asked, fetch } = answering(['x']);
    const one = 'POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc';
    const two =
      'POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\ndef\r\n2\r\ngh\r\n0\r\nX: y\r\n\r\n';
    const answer = await talk({ fetch }, `${one}${two}GET /3 HTTP/1.1\r\nConnection: close\r\n\r\n`);
    expect(asked.map(({ url, init }) => [url, init.body && decode(init.body)])).toEqual([
      ['http://example.org/1', 'abc'],
      ['http://example.org/2', 'defgh'],
      ['http://example.org/3', undefined],
    ]);
    expect(answer.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(3);
  });

  it('closes behind its answer to who does not know of chunks', async () => {
    const { fetch } = answering(['Hello ', 'world']);
    const answer = await talk({ fetch }, 'GET / HTTP/1.0\r\n\r\n');
    expect(answer).toBe(
      'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nHello world',
    );
  });

  it('says how it went to who asks for no body', async () => {
    const { fetch } = answering([], { status: 204, statusText: 'No Content' });
    expect(await talk({ fetch }, 'HEAD / HTTP/1.1\r\n\r\n')).toBe(
      'HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\n\r\n',
    );
  });

  it('takes a detour when it is told to', async () => {
    const { asked, fetch } = answering([]);
    const rewrite = (url: string): string => `https://proxy.example/?${url}`;
    await talk({ fetch, rewrite }, 'GET / HTTP/1.1\r\nHost: example.org\r\n\r\n');
    expect(asked[0]?.url).toBe('https://proxy.example/?http://example.org/');
  });

  it.each([
    ['no request at all\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nno header\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n', 501],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 400],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd', 400],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n', 413],
    ['POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n', 413],
    [`GET / HTTP/1.1\r\nX: ${'y'.repeat(70_000)}\r\n\r\n`, 431],
  ])('refuses %j', async (request, status) => {
    const { asked, fetch } = answering([]);
    const answer = await talk({ fetch, mostBody: 1000 }, request);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(asked).toEqual([]);
  });

  it('says so when the page may not fetch it', async () => {
    const fetch = async (): Promise<ResponseLike> => {
      throw new TypeError('Failed to fetch');
    };
    expect(await talk({ fetch }, 'GET / HTTP/1.1\r\n\r\n')).toMatch(/^HTTP\/1.1 502 Bad Gateway\r\n/);
  });

  it('resets a guest to whom an answer cannot be finished', async () => {
    const fetch = async (): Promise<ResponseLike> => ({
      status: 200,
      statusText: 'OK',
      headers: new Map(),
      body: { getReader: () => ({ read: () => Promise.reject(new Error('lost')), cancel: async () => {} }) },
    });
    await expect(talk({ fetch }, 'GET / HTTP/1.1\r\n\r\n')).rejects.toMatchObject({
      code: 'CONNECTION_RESET',
    });
  });

  it('refuses whatever is no HTTP', async () => {
    const { fetch } = answering([]);
    const station = stationOver(fetchUplink({ fetch }));
    const address = await addressOf(station, 'example.org');
    await expect(station.connect(address, 443)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });
});
