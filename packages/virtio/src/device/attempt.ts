/** Runs what may fail now, or later. */
export function attempt(call: () => void | Promise<void>, failed: (error: unknown) => void): void {
  try {
    const settled = call();
    if (settled instanceof Promise) settled.catch(failed);
  } catch (error) {
    failed(error);
  }
}
