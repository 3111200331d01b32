// From an empty tenant to the first delivered event, without anything outside of the server.
import assert from 'node:assert/strict';
import { journey, openSite } from './harness.mjs';

const site = await openSite();

journey(site, 'a tenant, an Echo inbox, a test event, delivered', async (v, { js }) => {
  const tenant = `newcomer-${js ? 'js' : 'plain'}`;
  await v.open('/tenants');
  await v.follow('Create tenant');
  await v.press('Create tenant', { status: 422 });
  await v.isRefused('tenant_id', /is required/);
  await v.field('Tenant ID').fill(tenant);
  await v.press('Create tenant');
  assert.equal(v.path, `/t/${tenant}`);

  await v.open(`/t/${tenant}`);
  await v.sees('0 of 4 done');
  await v.follow('Use the built-in Echo inbox');
  assert.equal(await v.heading.textContent(), 'Add Echo inbox');
  await v.field('Name').fill('My inbox');
  await v.press('Create destination');
  await v.sees('The destination was created.');
  assert.equal(await v.heading.textContent(), 'My inbox');

  await v.open(`/t/${tenant}`);
  await v.sees('1 of 4 done');
  await v.sees(`"tenant_id": "${tenant}"`, v.page.locator('#publish-curl'));
  await v.follow('Send a test event');
  await v.field('Payload').fill('{"hello": ');
  await v.press('Send test event', { status: 422 });
  await v.isRefused('data', /is not valid JSON at line 1/);
  await v.field('Payload').fill('{"hello": "world"}');
  await v.press('Send test event');
  assert.match(v.path, /\/attempts\//);
  assert.equal(await v.heading.textContent(), 'Test');
  await v.sees('Succeeded');
  assert.match(await v.page.locator('#response-body').textContent(), /"event_id":/);
  assert.match(await v.fact('Trigger').textContent(), /Test by Ann Example/);
  await v.sees('Delivered');

  await v.arrives(() => v.fact('Event').getByRole('link').click());
  await v.sees('Delivered');
  await v.open(`/t/${tenant}`);
  await v.sees('3 of 4 done');
  await v.sees('Your first event has arrived.');
  await v.sees('Add your own endpoint');
  await v.press('Hide');
  assert.equal(await v.main.getByText('First steps').count(), 0, 'nobody is shown what they have hidden');
  assert.match(await v.main.getByRole('link', { name: /^Delivered/ }).first().innerText(), /1/);
  await v.open(`/t/${tenant}/help`);
  await v.follow('First steps');
  await v.sees('3 of 4 done');
});

journey(site, 'the first event by curl is seen on the way', async (v) => {
  const tenant = await site.tenant('curl');
  await site.destination(tenant, { id: 'slow', config: { answer: 'slow', delay_ms: '4000' } });
  const { id } = await site.api('POST', '/publish', { tenant_id: tenant, topic: 'order.created', data: { n: 1 } });
  await v.open(`/t/${tenant}/events/${id}`);
  await v.sees('No attempt has ended yet.');
  const state = v.heading.locator('xpath=../..').locator('.pill');
  assert.equal((await state.innerText()).trim(), 'Pending');
  await v.settles();
  assert.equal((await state.innerText()).trim(), 'Delivered', 'beside the heading, too');
  await v.sees('Succeeded');
});

journey(site, 'what a new server shows of everything', async (v) => {
  const tenant = await site.tenant('empty');
  for (const [path, text] of [['destinations', 'No destinations yet'], ['events', 'No events yet'], ['topics', 'The catalogue is empty'], ['api-keys', 'Create API key'], ['settings', 'Your preferences']]) {
    await v.open(`/t/${tenant}/${path}`);
    await v.sees(text);
  }
});
