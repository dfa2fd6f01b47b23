// `flags` of a descriptor (2.7.5).

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
