import type { Json } from '../../device/json.ts';
import type { ControlClass } from './control.ts';
import { fieldsOf, type Hashing, type RssSettings, readRss, restoreRss, saveRss } from './rss.ts';
import { hashTunnelCommand, rssContextCommand, virtnet_rss_ctx_cap } from './spec-hash.ts';
import type { NetControls } from './state.ts';

/**
 * Encapsulations whose inner headers are hashed: none until the driver asks for some.
 *
 * @spec 5.1.9.4.4.4 device: Device Types / Network Device / Device Operation / Control Virtqueue / Inner Header Hash
 */
export const hashTunnelClass = (controls: NetControls, hashing: Hashing): ControlClass => {
  const use = (tunnels: number): boolean => {
    if ((tunnels & ~controls.config.supported_tunnel_types) !== 0) return false;
    hashing.tunnels = tunnels;
    return true;
  };
  return {
    requires: ['HASH_TUNNEL'],
    handle: (command, data) => command === hashTunnelCommand.SET && use(data.u32()),
    reset: () => {
      hashing.tunnels = 0;
    },
    save: () => hashing.tunnels,
    restore: (tunnels) => {
      if (typeof tunnels === 'number') use(tunnels);
    },
  };
};

/** Sets of RSS parameters beside the default one, by their ids. */
export class RssContexts {
  readonly all = new Map<number, RssSettings>();
  readonly most: number;

  /** For so many at most. */
  constructor(most: number) {
    this.most = most;
  }
}

/**
 * RSS contexts. No command and no action of a flow filter of this version of the specification puts a frame into one: they are
 * kept, and checked as the default parameters are.
 *
 * @spec 5.1.9.5.8.3 device: Device Types / Network Device / Device Operation / Control Virtqueue / RSS Context
 */
export const rssContextClass = (controls: NetControls, contexts: RssContexts): ControlClass => {
  const { all, most } = contexts;
  return {
    requires: ['RSS_CONTEXT'],
    handle(command, data) {
      if (command === rssContextCommand.CAP_GET)
        return virtnet_rss_ctx_cap.encode({ max_rss_contexts: most });
      const id = data.u16();
      if (command === rssContextCommand.DEL) return all.delete(id);
      if (command !== rssContextCommand.ADD && command !== rssContextCommand.MOD) return false;
      if (id < 1 || id > most || all.has(id) !== (command === rssContextCommand.MOD)) return false;
      // What is reserved is not looked at.
      data.bytes(6);
      const settings = readRss(data, controls.config);
      if (settings === undefined) return false;
      all.set(id, settings);
      return true;
    },
    reset: () => all.clear(),
    save: () =>
      Object.fromEntries([...all].map(([id, settings]): [string, Json] => [`${id}`, saveRss(settings)])),
    restore(state) {
      for (const [name, one] of Object.entries(fieldsOf(state) ?? {})) {
        const id = Number(name);
        const settings = restoreRss(one, controls.config);
        if (settings !== undefined && Number.isInteger(id) && id >= 1 && id <= most) all.set(id, settings);
      }
    },
  };
};
