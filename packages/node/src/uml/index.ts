export { UmlMachine, type UmlOptions } from './machine.ts';
