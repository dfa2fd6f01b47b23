/** The whole number that a text is, in decimal digits; `undefined` when it is none, or not between these two. */
export function wholeNumber(text: string, least: number, most: number): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text) && value >= least && value <= most ? value : undefined;
}
