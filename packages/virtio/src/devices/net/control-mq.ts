import type { ControlClass } from './control.ts';
import type { RssContexts } from './control-hash.ts';
import { FlowSteering } from './flow-steering.ts';
import {
  fieldsOf,
  type Hashing,
  noHashes,
  ReportingSteering,
  type RssSettings,
  RssSteering,
  readHash,
  readRss,
  restoreHash,
  restoreRss,
  saveHash,
  saveRss,
} from './rss.ts';
import { mqCommand } from './spec-control.ts';
import type { NetControls } from './state.ts';
import { firstQueue } from './steering.ts';

/**
 * How many queues are used, and how frames are spread over them: each command is one way, and the last that was given counts.
 *
 * @spec 5.1.9.5.6.2 device: Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode
 * @spec 5.1.9.5.7.3 device: Device Types / Network Device / Device Operation / Control Virtqueue / Receive-side scaling (RSS) / RSS processing
 */
export const mqClass = (controls: NetControls, hashing: Hashing, contexts: RssContexts): ControlClass => {
  let reports = false;
  /** In force; absent while frames are steered by their flows. */
  let rss: RssSettings | undefined;
  const byFlow = (pairs: number): void => {
    rss = undefined;
    controls.pairs = pairs;
    const steering = pairs === 1 ? firstQueue : new FlowSteering(pairs);
    controls.steering = reports ? new ReportingSteering(hashing, steering) : steering;
  };
  const byHash = (settings: RssSettings): void => {
    rss = settings;
    hashing.settings = settings;
    // The table alone says which receive queues are used.
    controls.pairs = controls.config.max_virtqueue_pairs;
    controls.steering = new RssSteering(hashing, settings);
  };
  const begin = (reporting: boolean, pairs = 1): void => {
    reports = reporting;
    hashing.settings = noHashes;
    byFlow(pairs);
  };
  return {
    requires: ['MQ', 'RSS', 'HASH_REPORT'],
    begin(session) {
      // A front end that keeps the control queue to itself enables the pairs that are in use, and no others.
      const isKept = session.has('MQ') && !session.has('CTRL_VQ');
      begin(session.has('HASH_REPORT'), isKept ? controls.config.max_virtqueue_pairs : 1);
    },
    reset: () => begin(false),
    handle(command, data, session) {
      switch (command) {
        case mqCommand.VQ_PAIRS_SET: {
          // A driver with contexts has no use for it, and must not give it.
          if (!session.has('MQ') || contexts.all.size > 0) return false;
          const pairs = data.u16();
          if (pairs < 1 || pairs > controls.config.max_virtqueue_pairs) return false;
          byFlow(pairs);
          return true;
        }
        case mqCommand.RSS_CONFIG: {
          const settings = session.has('RSS') ? readRss(data, controls.config) : undefined;
          if (settings !== undefined) byHash(settings);
          return settings !== undefined;
        }
        case mqCommand.HASH_CONFIG: {
          const settings = session.has('HASH_REPORT') ? readHash(data, controls.config) : undefined;
          if (settings === undefined) return false;
          hashing.settings = settings;
          if (rss !== undefined) byFlow(rss.transmitQueues);
          return true;
        }
        default:
          return false;
      }
    },
    save: () => ({
      pairs: controls.pairs,
      hash: saveHash(hashing.settings),
      rss: rss === undefined ? null : saveRss(rss),
    }),
    restore(state) {
      const { pairs, hash, rss: table } = fieldsOf(state) ?? {};
      const most = controls.config.max_virtqueue_pairs;
      byFlow(typeof pairs === 'number' && pairs >= 1 && pairs <= most ? pairs : 1);
      hashing.settings = restoreHash(hash, controls.config) ?? noHashes;
      const settings = restoreRss(table, controls.config);
      if (settings !== undefined) byHash(settings);
    },
  };
};
