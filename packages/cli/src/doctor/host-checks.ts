import { type HostAbility, hostAbilities, tryAbility } from 'virtio-node/host';
import type { Check } from './findings.ts';

const what: Readonly<Record<HostAbility, string>> = {
  memfd: 'memory that processes share',
  events: 'events from other processes, in the event loop',
  sockets: 'Unix sockets that carry descriptors',
};

/** What devices in processes of their own need: vhost-user and vfio-user. */
export const hostChecks: readonly (() => Promise<Check>)[] = hostAbilities.map((name) => () => check(name));

async function check(name: HostAbility): Promise<Check> {
  const failure = await tryAbility(name);
  if (failure === undefined) return { name, state: 'ok', found: what[name] };
  return {
    name,
    state: 'optional',
    found: `no ${what[name]}: ${failure.message}`,
    advice:
      'devices in processes of their own, over vhost-user or vfio-user, need it; use Linux on a 64-bit processor',
  };
}
