/** What `--name=value` on the command line says. */
export const option = (name: string): string | undefined =>
  new RegExp(`--${name}=(\\S+)`).exec(process.argv.join(' '))?.[1];

export const numberOption = (name: string, otherwise: number): number => Number(option(name) ?? otherwise);

/** NaN of nothing. */
export const median = (values: Iterable<number>): number => {
  const sorted = Float64Array.from(values).sort();
  return sorted[sorted.length >>> 1] ?? Number.NaN;
};

export const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));
