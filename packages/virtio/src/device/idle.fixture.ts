/** Lets everything happen that can happen without anybody's help. */
export async function idle(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await Promise.resolve();
}

/** Whether a promise is pending, once everything has happened that can. */
export async function pending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => {
    settled = true;
  };
  promise.then(settle, settle);
  await idle();
  return !settled;
}
