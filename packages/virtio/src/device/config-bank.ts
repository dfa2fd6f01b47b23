import { fieldRegisters, RegisterBlock } from '../spec/registers.ts';
import type { DeviceCore } from './core.ts';
import { RegisterBank } from './register-bank.ts';

/**
 * A device's own configuration as registers, field by field; `undefined` when its type has none. `onRead` is called
 * before each read.
 */
export function configBank(core: DeviceCore, onRead?: () => void): RegisterBank<string> | undefined {
  const { config, driverWritable } = core.device.type;
  if (config.size === 0) return undefined;
  const registers = fieldRegisters(config, { readWrite: driverWritable });
  return new RegisterBank(
    new RegisterBlock('config', registers),
    {
      read: ({ offset, width }) => {
        onRead?.();
        return core.readConfig(offset, width);
      },
      write: ({ offset, width }, value) => core.writeConfig(offset, width, value),
    },
    core,
  );
}
