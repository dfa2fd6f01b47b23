import { Chain } from '../chain.ts';
import { ChainsInFlight } from '../chains-in-flight.ts';
import * as notLive from '../not-live.ts';

/** Chains whose id is known only when they are filled, as a packed ring tells it last. */
export class SpareChains extends ChainsInFlight {
  /** A chain to be filled, and then added. */
  spare: Chain = new Chain();

  /** True when the ring has not got the buffer of this id back. */
  has(id: number): boolean {
    const chain = this.byId[id];
    return chain !== undefined && chain.turn !== notLive.FREE;
  }

  /** Makes the filled spare the chain of an id that is not in flight, and puts it into the device's hands. */
  addSpare(id: number): void {
    const chain = this.spare;
    this.spare = this.at(id);
    this.byId[id] = chain;
    chain.id = id;
    this.add(chain);
  }
}
