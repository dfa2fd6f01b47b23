/** The number that every JSON answer carries as `schema`; it rises when a key changes its meaning or goes. */
export const jsonSchema = 1;

/** Where a command writes. Data goes to `out`, words for a person to `err`. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether `out` takes colour. */
  readonly colour: boolean;
}

/** The output of this process. */
export function processOutput(): Output {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    colour: takesColour(process.stdout),
  };
}

/** Colour on a terminal, unless NO_COLOR; everywhere with FORCE_COLOR. */
export function takesColour(
  stream: { readonly isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  if (environment.NO_COLOR) return false;
  if (environment.FORCE_COLOR && environment.FORCE_COLOR !== '0') return true;
  return stream.isTTY === true && environment.TERM !== 'dumb';
}

/** An answer for programs: one object, keys in the order given, after the schema number. */
export function formatJson(answer: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ schema: jsonSchema, ...answer }, undefined, 2)}\n`;
}

/** One of many answers for programs: an object on a line of its own. */
export function formatJsonLine(answer: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ schema: jsonSchema, ...answer })}\n`;
}

/** Text in bold where there is colour. */
export function bold(text: string, colour: boolean): string {
  return colour ? `\x1b[1m${text}\x1b[22m` : text;
}

/** Columns as wide as their widest cell; the last one is not padded. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return rows.map((row) => `${line(row)}\n`).join('');
}
