// Logging in by an identity provider, one of others, and showing there again who one is.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startProvider } from '../lib/oidc.mjs';
import { journey, openSite } from './harness.mjs';

const provider = await startProvider({
  max: { email: 'max@example.com', email_verified: true, name: 'Max Example', groups: ['devs', 'platform'] },
  eve: { email: 'eve@example.com', email_verified: true, name: 'Eve Example', groups: ['others'] },
});
const site = await openSite({ env: provider.env });
site.others = [provider.issuer];
provider.serves(site.base);
after(() => provider.stop());

// atProvider gives a name there, and lets the provider tell who that is where it asks.
async function atProvider(v, name) {
  const { page } = v;
  await page.locator('input[name=login]').fill(name);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button[type=submit]').click();
  const consent = page.locator('input[name=prompt][value=consent]');
  await page.waitForLoadState('load');
  if (page.url().startsWith(provider.issuer) && await consent.count()) await page.locator('button[type=submit]').click();
  await page.waitForURL(`${site.base}/**`);
  await page.waitForLoadState('load');
}

journey(site, 'log in by the provider, and show again who one is', { loggedIn: false }, async (v) => {
  await site.logIn(); // there is a first user
  await v.open('/users');
  assert.match(v.path, /^\/login\?/);
  await v.link('Log in with Example ID').click();
  await atProvider(v, 'max');
  await v.check();
  assert.equal(v.path, '/users');
  await v.sees('max@example.com');
  await v.open('/account');
  await v.sees('Connected.');
  assert.equal(await v.field('Present password').count(), 0);

  await v.open('/confirm?return=%2Fapi-keys%2Fnew');
  await v.link('Log in with Example ID').click();
  await v.page.locator('input[name=login]').waitFor(); // it asks again of who is logged in there
  await atProvider(v, 'max');
  await v.check();
  assert.equal(v.path, '/api-keys/new');
});

journey(site, 'who is in no group is told so', { loggedIn: false }, async (v) => {
  await site.logIn();
  await v.open('/login');
  await v.link('Log in with Example ID').click();
  await atProvider(v, 'eve');
  await v.check();
  assert.match(v.path, /^\/login/);
  await v.sees('Your account at Example ID has no role on this server.');
});
