/** What every benchmark gives back: figures with their units, and ratios against a peer of the same run. */
export interface BenchmarkReport {
  readonly name: string;
  /** One row a measured thing. */
  readonly rows: readonly Readonly<Record<string, string | number>>[];
  /** What is aimed at, and whether this run met it. */
  readonly targets: readonly {
    readonly what: string;
    readonly value: number;
    readonly limit: number;
    readonly met: boolean;
  }[];
}

/** Prints a report: a table for people, one JSON object with `--json`. */
export function printReport(report: BenchmarkReport): void {
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ schema: 1, ...report }));
    return;
  }
  console.log(`\n${report.name}`);
  console.table(report.rows);
  for (const { what, value, limit, met } of report.targets) {
    console.log(`${met ? 'met' : 'MISSED'}: ${what}: ${value} (target ${limit})`);
  }
}
