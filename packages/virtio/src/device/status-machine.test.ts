import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { status } from '../spec/status.ts';
import { checkStatusWrite } from './status-machine.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, SUSPEND, FAILED, DEVICE_NEEDS_RESET } = status;

describe('checkStatusWrite', () => {
  it('takes the steps of a driver that follows the sequence, without a word', () => {
    const ready = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    expect(checkStatusWrite(0, ACKNOWLEDGE, false)).toMatchObject({ set: ACKNOWLEDGE, mistakes: [] });
    expect(checkStatusWrite(ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, false)).toMatchObject({
      set: DRIVER,
      mistakes: [],
    });
    expect(checkStatusWrite(ACKNOWLEDGE | DRIVER, ready, false)).toMatchObject({
      featuresOk: true,
      mistakes: [],
    });
    expect(checkStatusWrite(ready, ready | DRIVER_OK, false)).toMatchObject({ driverOk: true, mistakes: [] });
  });

  it('names steps that are taken in one write (D2)', () => {
    const { mistakes, set } = checkStatusWrite(0, ACKNOWLEDGE | DRIVER, false);
    expect(set).toBe(ACKNOWLEDGE | DRIVER);
    expect(mistakes).toMatchObject([
      { code: 'STATUS_SEQUENCE', message: 'ACKNOWLEDGE, DRIVER were set in one write' },
    ]);
  });

  it('names a cleared bit', () => {
    const [mistake] = checkStatusWrite(ACKNOWLEDGE | DRIVER, DRIVER, false).mistakes;
    expect(mistake?.code).toBe('STATUS_BIT_CLEARED');
  });

  it('does not take it ill that DEVICE_NEEDS_RESET, which is the device’s, is not written back', () => {
    expect(checkStatusWrite(ACKNOWLEDGE | DEVICE_NEEDS_RESET, ACKNOWLEDGE | FAILED, false).mistakes).toEqual(
      [],
    );
  });

  it('refuses DRIVER_OK without FEATURES_OK, and says that a legacy driver needs a legacy device', () => {
    const step = checkStatusWrite(ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | DRIVER_OK, false);
    expect(step.driverOk).toBe(false);
    expect(step.mistakes[0]?.message).toMatch(/legacy/);
  });

  // @holds 3.4.2 device: General Initialization And Device Operation / Device Suspend
  it('ignores SUSPEND unless it was negotiated and the device is live', () => {
    const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
    expect(checkStatusWrite(live, live | SUSPEND, false).suspend).toBe(false);
    expect(checkStatusWrite(live & ~DRIVER_OK, (live & ~DRIVER_OK) | SUSPEND, true).suspend).toBe(false);
    expect(checkStatusWrite(live, live | SUSPEND, true).suspend).toBe(true);
  });

  it('tells a resume from a start', () => {
    const suspended = ACKNOWLEDGE | DRIVER | FEATURES_OK | SUSPEND;
    expect(checkStatusWrite(suspended, suspended | DRIVER_OK, true)).toMatchObject({
      resume: true,
      driverOk: false,
    });
  });

  it('never sets a bit that is the device’s own, whatever is written', () => {
    fc.assert(
      fc.property(fc.nat(255), fc.nat(255), fc.boolean(), (current, written, canSuspend) => {
        const step = checkStatusWrite(current, written, canSuspend);
        expect(step.set & ~(ACKNOWLEDGE | DRIVER | FAILED)).toBe(0);
        expect(step.driverOk && step.resume).toBe(false);
      }),
    );
  });
});
