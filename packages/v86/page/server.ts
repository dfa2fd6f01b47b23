import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { guestCommandLine, guestFiles, type Progress } from 'virtio-node/guests';

/** The page on a port of this machine. */
export interface PageServer {
  readonly url: string;
  close(): Promise<void>;
}

type Answer = { readonly type: string } & (
  | { readonly body: string | Uint8Array }
  | { readonly file: string }
);

/**
 * Builds the page and serves it, with the guest's files, to this machine alone.
 *
 * @throws HostError as `guestFiles`; the port's own error when it is taken.
 */
export async function servePage(
  options: { readonly port?: number; readonly progress?: Progress } = {},
): Promise<PageServer> {
  const { progress } = options;
  const guest = await guestFiles(progress === undefined ? {} : { progress });
  const answers = new Map<string, Answer>([
    ['/', { type: 'text/html; charset=utf-8', body: await readFile(new URL('index.html', import.meta.url)) }],
    [
      '/v86.wasm',
      { type: 'application/wasm', file: fileURLToPath(new URL('v86.wasm', import.meta.resolve('v86'))) },
    ],
    [
      '/guest/guest.json',
      { type: 'application/json', body: JSON.stringify({ commandLine: guestCommandLine }) },
    ],
    ...(['bios', 'vgaBios', 'bzimage', 'initrd'] as const).map((name): [string, Answer] => [
      `/guest/${name}`,
      { type: 'application/octet-stream', file: guest[name] },
    ]),
    ...(await bundle()),
  ]);
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const answer = answers.get(pathname);
    if (answer === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(404).end();
      return;
    }
    respond(response, answer, request.method === 'HEAD').catch((error: Error) => response.destroy(error));
  });
  await listen(server, options.port ?? 0);
  // A server that listens on a port has an address of this kind.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function bundle(): Promise<[string, Answer][]> {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: ['main.ts', 'main.css'],
    outdir: here,
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    conditions: ['source'],
    // v86 reaches for these in Node alone.
    external: ['node:*', 'fs', 'fs/promises', 'crypto', 'perf_hooks', 'url'],
    logLevel: 'warning',
  });
  return outputFiles.map(({ path, contents }) => [
    `/${path.slice(here.length)}`,
    { type: path.endsWith('.css') ? 'text/css' : 'text/javascript', body: contents },
  ]);
}

async function respond(response: ServerResponse, answer: Answer, headOnly: boolean): Promise<void> {
  const length = 'file' in answer ? (await stat(answer.file)).size : Buffer.byteLength(answer.body);
  response.writeHead(200, {
    'content-type': answer.type,
    'content-length': length,
    'cache-control': 'no-cache',
  });
  if (headOnly) response.end();
  else if ('file' in answer)
    createReadStream(answer.file)
      .on('error', (error) => response.destroy(error))
      .pipe(response);
  else response.end(answer.body);
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, 'localhost', resolve);
  });
}
