// The reference of the API: for anybody, with lines for a shell that do what they say.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { journey, openSite, phone } from './harness.mjs';
import { apiKey } from '../lib/server.mjs';

const site = await openSite();

journey(site, 'the reference of the API, by somebody who has not logged in', { loggedIn: false }, async (v) => {
  await v.open('/login');
  await v.arrives(() => v.page.getByRole('contentinfo').getByRole('link', { name: 'API reference' }).click());
  await v.sees('API reference');
  await v.follow('POST /publish');
  assert.match(v.page.url(), /\/docs\/api\/publishing#publishEvent$/);
  await v.sees('/api/v1/publish');
  const curl = await v.page.locator('#publishEvent-curl').innerText();
  assert.ok(curl.includes(`${site.base}/api/v1/publish`), curl);
  // The line does what it says, pasted into a shell.
  await site.api('PUT', '/tenants/acme', {});
  const answer = JSON.parse(execFileSync('sh', ['-c', curl], { env: { ...process.env, WAYBILL_API_KEY: apiKey }, stdio: ['ignore', 'pipe', 'ignore'] }));
  assert.ok(answer.id, JSON.stringify(answer));
  await v.follow('Payload');
  assert.match(v.page.url(), /\/docs\/api\/schemas#Payload$/);
  await v.open('/docs/api/nothing-like-that', { status: 404 });
});

journey(site, 'the reference of the API, on a phone', { size: phone }, async (v) => {
  await v.open('/api-keys');
  await v.follow('API reference');
  for (const part of ['destinations', 'numbers', 'server', 'schemas']) await v.open(`/docs/api/${part}`);
});
