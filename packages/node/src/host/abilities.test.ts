import { expect, it } from 'vitest';
import { hostAbilities, tryAbility } from './abilities.ts';

it.each(hostAbilities)('finds %s here, where these tests run on it', async (ability) => {
  expect(await tryAbility(ability)).toBeUndefined();
});
