/** True for a whole number from 0 to 255: of what was saved, or came from somebody else. */
export const isByte = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 0xff;
