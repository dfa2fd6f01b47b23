export * from './buses.ts';
export type * from './conformance-case.ts';
export type * from './fixtures/fixture.ts';
export * from './matrix.ts';
