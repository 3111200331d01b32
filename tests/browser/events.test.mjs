// Events: found, read and retried.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startReceiver } from '../lib/receiver.mjs';
import { eventually, journey, openSite } from './harness.mjs';

const site = await openSite();
const receiver = await startReceiver();
after(() => receiver.close());

// The rows of the list of events, by the ids of their events.
const ids = (v) => v.main.locator('tbody tr td:nth-child(2) a').evaluateAll((links) => links.map((a) => a.title));
const params = (v) => [...new URL(v.page.url()).searchParams].filter(([, value]) => value !== '').map((p) => p.join('=')).sort();
const chips = (v) => v.main.getByRole('list', { name: 'Filters in force' }).getByRole('listitem')
  .evaluateAll((items) => items.map((i) => i.innerText.replace(/^Remove filter\s*/, '').trim()).filter((t) => t !== 'Clear all'));

journey(site, 'conditions that cannot be are named', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox' });
  await site.publish(tenant);
  await v.open(`/t/${tenant}/events?status=failed&since=yesterday`, { status: 422 });
  await v.sees(/must be a time like/);
  await v.sees('From: yesterday');
  await v.open(`/t/${tenant}/events?next=nonsense`);
  await v.sees('The list has changed since you looked at it. This is its first page.');
  assert.equal((await ids(v)).length, 1);
});

journey(site, 'pages of a list while new events arrive', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox' });
  const published = [];
  for (let i = 0; i < 25; i++) published.unshift((await site.api('POST', '/publish', { tenant_id: tenant, topic: 'order.created', data: { i } })).id);
  await v.open(`/t/${tenant}/events?limit=10`);
  const seen = [await ids(v)];
  assert.equal(await v.link('Newer').count(), 0);
  await v.sees('10 events shown, more available');
  while (await v.link('Older').count() > 0) {
    await site.api('POST', '/publish', { tenant_id: tenant, topic: 'order.created', data: { late: true } });
    await v.follow('Older');
    seen.push(await ids(v));
  }
  assert.deepEqual(seen.flat(), published, 'every event once, in order');
  await v.sees('Events are kept for 30 days.');
  await v.follow('Newer');
  assert.deepEqual(await ids(v), seen[1]);
  await v.follow('Newer');
  assert.deepEqual(await ids(v), seen[0]);

  const received = v.main.getByRole('columnheader', { name: 'Received (UTC)' });
  assert.equal(await received.getAttribute('aria-sort'), 'descending');
  await v.follow('Received (UTC)');
  assert.equal(await received.getAttribute('aria-sort'), 'ascending');
  assert.deepEqual(await ids(v), published.slice(-10).reverse());
});

journey(site, 'an event with its attempts, and an error in three parts', async (v) => {
  const tenant = await site.tenant();
  receiver.answers(500, 'the database is gone\n'.repeat(4000), { 'x-trace': 'abc' });
  await site.destination(tenant, { id: 'hook', type: 'webhook', name: 'Billing', config: { url: receiver.url } });
  const { id } = await site.publish(tenant, { metadata: { source: 'shop' }, data: { order: { id: 7, lines: [{ sku: 'a' }] } } });
  await site.settled(tenant, id);
  receiver.answers(200);

  await v.open(`/t/${tenant}/events`);
  await v.follow(/…/);
  assert.equal(await v.heading.textContent(), 'Event order.created');
  assert.equal(await v.fact('Event ID').locator('span.font-mono').textContent(), id);
  assert.match(await v.fact('source').textContent(), /shop/);
  await v.sees('Failed', v.row('Billing'));
  const attempts = v.main.getByRole('list', { name: 'Attempts, newest first' }).getByRole('listitem');
  assert.deepEqual((await attempts.allInnerTexts()).map((t) => t.match(/attempt (\d)/)[1]), ['3', '2', '1']);
  for (const text of await attempts.allInnerTexts()) assert.match(text, /500 · Server error[\s\S]*The receiver failed: 500\.[\s\S]*Automatic/);
  const payload = v.page.locator('#payload');
  await v.sees('lines', payload);
  await v.follow('Raw', { within: payload });
  assert.match(await v.main.getByRole('region', { name: 'Payload, byte for byte' }).textContent(), /^\{"order":\{"id":7,"lines":\[\{"sku":"a"\}\]\}\}$/);

  await v.follow(/attempt 2 to Billing/);
  assert.equal(await v.heading.textContent(), 'Attempt 2');
  const error = v.main.getByRole('region', { name: /What went wrong/ });
  assert.equal(await v.fact('What happened', error).textContent(), 'The receiver failed: 500.');
  assert.match(await v.fact('What to do', error).textContent(), /Check the receiver.s logs/);
  const raw = v.page.locator('#raw-error');
  assert.ok(!await raw.isVisible());
  await error.locator('summary').click();
  assert.equal(await raw.textContent(), '500 Internal Server Error');
  assert.match(await v.main.getByRole('region', { name: 'Request headers' }).textContent(), /webhook-id/i);
  assert.match(await v.main.getByRole('region', { name: 'Response headers' }).textContent(), /x-trace\s*abc/i);
  assert.match(await v.page.locator('#response-body').textContent(), /^the database is gone/);
  await v.sees('The answer was longer; the first 64.0 KiB were kept.');
  await v.follow('Newer');
  assert.equal(await v.heading.textContent(), 'Attempt 3');
  assert.equal(await v.link('Newer').count(), 0);
  await v.follow('Older');
  await v.follow('Older');
  assert.equal(await v.link('Older').count(), 0);
});

journey(site, 'an attempt that nothing answered', async (v) => {
  const tenant = await site.tenant();
  const closed = await startReceiver();
  await closed.close();
  await site.destination(tenant, { id: 'hook', type: 'webhook', config: { url: closed.url } });
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/events/${id}`);
  await v.follow(/attempt 1 to/);
  const error = v.main.getByRole('region', { name: /What went wrong/ });
  assert.match(await v.fact('What happened', error).textContent(), /Nothing answered on 127\.0\.0\.1:\d+/);
  assert.match(await v.fact('What to do', error).textContent(), /firewall/);
  await v.sees('Nothing came back.');
});

journey(site, 'an event that nobody was there for', async (v) => {
  const tenant = await site.tenant();
  const { id } = await site.publish(tenant);
  await v.open(`/t/${tenant}/events`);
  await v.sees('No destination matched');
  await v.open(`/t/${tenant}/events/${id}`);
  await v.sees('No destination matched this event.');
  await v.sees('Nowhere to go');
});

journey(site, 'one failed delivery is retried', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox', name: 'Inbox', config: { answer: '500' } });
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  await site.api('PATCH', `/tenants/${tenant}/destinations/inbox`, { config: { answer: '200' } });

  await v.open(`/t/${tenant}/events/${id}`);
  const retry = v.button(/^Retry/);
  await retry.focus();
  await v.arrives(() => v.page.keyboard.press('Enter'));
  assert.equal(v.path, `/t/${tenant}/events/${id}`);
  await v.sees(/^\s*Retry queued/);
  await v.settles();
  await v.sees('Delivered', v.row('Inbox'));
  const attempts = v.main.getByRole('list', { name: 'Attempts, newest first' }).getByRole('listitem');
  assert.match(await attempts.first().innerText(), /Succeeded[\s\S]*attempt 4[\s\S]*Manual by Ann Example/);
  assert.equal((await site.api('GET', `/attempts?tenant_id=${tenant}&event_id=${id}`)).models.length, 4);
});

journey(site, 'two clicks on Retry make one attempt', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'slow', name: 'Slow', config: { answer: '500' } });
  const { id } = await site.publish(tenant);
  const [delivery] = await site.settled(tenant, id);
  await site.api('PATCH', `/tenants/${tenant}/destinations/slow`, { config: { answer: 'slow', delay_ms: '1500' } });
  await v.open(`/t/${tenant}/events/${id}`);
  const other = await site.visitor({ js: v.js });
  await other.open(`/t/${tenant}/events/${id}`);
  await v.press(/^Retry/);
  await other.press(/^Retry/);
  await other.sees('This delivery is on its way already.');
  await other.context.close();
  await eventually(async () => (await site.api('GET', `/deliveries/${delivery.id}`)).status === 'delivered', 'the delivery');
  assert.equal((await site.api('GET', `/deliveries/${delivery.id}`)).attempts, 4);
});

journey(site, 'a delivery that waits for its next attempt is cancelled', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox', name: 'Inbox', config: { answer: '500' }, retry: { schedule: ['1h'] } });
  const { id } = await site.publish(tenant);
  await eventually(async () => (await site.api('GET', `/events/${id}/deliveries?tenant_id=${tenant}`)).models[0].status === 'retrying', 'the first attempt');
  await v.open(`/t/${tenant}/events/${id}`);
  assert.match(await v.row('Inbox').innerText(), /Retrying 1 of 2[\s\S]*Next attempt at/);
  await v.press(/^Cancel/);
  await v.sees('The delivery was cancelled.');
  await v.sees('Cancelled', v.row('Inbox'));
  assert.match(await v.row('Inbox').innerText(), /Ann Example/);
});

journey(site, 'a failure is found from the overview, and retried from the destination', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'good' });
  await site.destination(tenant, { id: 'bad', name: 'Broken', config: { answer: '500' } });
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}`);
  await v.sees('Needs attention');
  await v.sees('1 delivery failed.');
  await v.follow('Review failures');
  assert.equal(v.path, `/t/${tenant}/destinations/bad/deliveries?status=failed`);
  await v.press(/^Retry/);
  await v.sees(/^\s*Retry queued/);
  assert.equal(v.path, `/t/${tenant}/destinations/bad/deliveries?status=failed`);
  await v.follow('Show the event');
  assert.equal(v.path, `/t/${tenant}/events/${id}`);
});

// Whatever callers put into names and payloads is text on the pages, and nothing else.
const script = '<script>window.broken=1</script><img src=x onerror=window.broken=1>';
