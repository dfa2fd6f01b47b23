/** Anything that JSON can hold: what a device saves of itself. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
