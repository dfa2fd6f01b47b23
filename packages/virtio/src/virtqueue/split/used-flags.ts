// `flags` of the used ring (2.7.8).

export const NO_NOTIFY = 1;
