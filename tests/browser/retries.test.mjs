// Bulk retries: planned, started, watched, paused and cancelled.
import assert from 'node:assert/strict';
import { eventually, journey, openSite, phone } from './harness.mjs';

const site = await openSite();

const failed = async (tenant) => (await site.api('GET', `/deliveries?tenant_id=${tenant}&status=failed&limit=1000`)).models;

// outage makes a tenant with a destination that has failed n deliveries, and works again.
async function outage(n) {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'shop', name: 'Shop', config: { answer: '500' }, disable_after: 0 });
  const events = Array.from({ length: n }, (_, i) => ({ tenant_id: tenant, topic: 'order.created', data: { i }, eligible_for_retry: false }));
  await site.api('POST', '/publish/batch', events);
  await eventually(async () => (await failed(tenant)).length === n, `${n} failures`, 60_000);
  await site.api('PATCH', `/tenants/${tenant}/destinations/shop`, { config: { answer: '200' } });
  return tenant;
}

// shows waits until a page that refreshes itself shows a text. Without JavaScript that takes a click, again and again.
async function shows(v, text) {
  const wanted = v.main.getByText(text);
  if (v.js) {
    await wanted.first().waitFor({ state: 'visible' });
  } else {
    for (let i = 0; i < 200 && await wanted.count() === 0; i++) await v.follow('Refresh');
    assert.ok(await wanted.count() > 0, `the page never showed ${text}`);
  }
}

const retryID = (v) => v.path.match(/\/retries\/(rty_\w+)/)[1];

journey(site, 'retry what failed in an outage: plan, start, progress, cancel', async (v) => {
  const tenant = await outage(60);
  await v.open(`/t/${tenant}/events?status=failed&range=24h`);
  await v.follow('Retry all that match');
  await v.sees('60 deliveries would be retried.');
  await v.sees('Shop');
  await v.sees('Server error');
  const plan = await site.api('POST', '/retries/plan', { tenant_id: tenant, filter: { status: ['failed'] } });
  assert.equal(plan.count, 60, 'the plan of the API');
  await v.main.getByRole('radio', { name: /Very slow/ }).check();
  await v.press('Retry 60 deliveries now');
  await v.sees('The bulk retry has started.');
  await shows(v, /[1-9]\d* of 60 done/);
  await v.press('Cancel bulk retry');
  await v.sees(/Cancelled by Ann Example/);
  const id = retryID(v);
  const end = await eventually(async () => {
    const b = await site.api('GET', `/retries/${id}`);
    return b.finished_at && b;
  }, 'the end of the bulk retry');
  assert.equal(end.delivered + end.remaining, 60, 'what was done and what was not are all');
  assert.ok(end.delivered > 0 && end.remaining > 0);
  assert.equal((await failed(tenant)).length, end.remaining);
  await shows(v, `${end.delivered} of 60 done: ${end.delivered} delivered, 0 failed again; ${end.remaining} not retried.`);
  if (!v.js) await v.open(v.path); // as it is now that all is over
  await v.main.locator('#progress[hx-get]').waitFor({ state: 'detached' }); // polling ends
  await v.check();

  await v.follow('Retries', { within: v.page.getByRole('navigation', { name: 'Main' }) });
  await v.sees('Cancelled');
  const { models: [attempt] } = await site.api('GET', `/attempts?tenant_id=${tenant}&status=success`);
  await v.open(`/t/${tenant}/attempts/${attempt.id}`);
  await v.follow(`Bulk retry ${id} by Ann Example`);
  assert.equal(retryID(v), id);
});

journey(site, 'retry selected events, on a phone', { size: phone }, async (v) => {
  const tenant = await outage(4);
  await v.open(`/t/${tenant}/events?status=failed`);
  await v.press('Retry selected', { status: 422 });
  await v.sees(/No row was selected/);
  await v.open(`/t/${tenant}/events?status=failed`);
  for (const box of (await v.main.locator('tbody').getByRole('checkbox').all()).slice(0, 2)) await box.check();
  await v.press('Retry selected');
  await v.sees('2 deliveries would be retried.');
  await v.press('Retry 2 deliveries now');
  await shows(v, '2 of 2 done: 2 delivered, 0 failed again.');
  await v.check();
  assert.equal((await failed(tenant)).length, 2);
});

journey(site, 'pause and resume, and retry a destination from its list', async (v) => {
  const tenant = await outage(30);
  await v.open(`/t/${tenant}/destinations/shop/deliveries?status=failed`);
  await v.follow('Retry all that match');
  await v.sees('30 deliveries would be retried.');
  await v.main.getByRole('radio', { name: /Very slow/ }).check();
  await v.press('Retry 30 deliveries now');
  await v.press('Pause');
  await v.sees('The bulk retry is paused.');
  await shows(v, 'Nothing more goes out until it is resumed.');
  await v.press('Resume');
  await shows(v, '30 of 30 done: 30 delivered, 0 failed again.');
  await v.check();
});

journey(site, 'select all rows of a page', { js: true }, async (v) => {
  const tenant = await outage(3);
  await v.open(`/t/${tenant}/destinations/shop/deliveries?status=failed`);
  await v.main.getByRole('checkbox', { name: 'Select all on this page' }).check();
  await v.press('Retry selected');
  await v.sees('3 deliveries would be retried.');
});

journey(site, 'a choice that cannot be', async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/retries`);
  await v.sees('No bulk retry here');
  await v.follow('Retry failed deliveries');
  await v.sees('No delivery is chosen.');
  await v.field('Last response code').fill('many');
  await v.press('Count again', { status: 422 });
  await v.isRefused('code', /use a status like 503, or the class of an error/);
});
