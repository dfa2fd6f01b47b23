/** Ports of the host: one gives back what it gets, one takes, one gives. */
export const port = { echo: 1000, sink: 1001, source: 1002 } as const;
