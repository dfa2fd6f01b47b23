// `flags` of the available ring (2.7.6).

export const NO_INTERRUPT = 1;
