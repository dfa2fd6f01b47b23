/** `npm run page`: serves the page until Ctrl-C. `npm run page -- 8080` chooses the port. */
import { servePage } from './server.ts';

const port = Number(process.argv[2] ?? 8086);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  process.stderr.write(`"${process.argv[2]}" is no port; give a number from 0 to 65535\n`);
  process.exit(2);
}
try {
  const server = await servePage({
    port,
    progress: ({ step, detail }) => void process.stderr.write(`${step} ${detail}\n`),
  });
  process.stdout.write(`Linux with our devices: ${server.url} (Ctrl-C ends it)\n`);
  process.once('SIGINT', () => void server.close());
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(3);
}
