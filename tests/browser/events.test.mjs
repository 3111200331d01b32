// Events: found, read and retried.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startReceiver } from '../lib/receiver.mjs';
import { eventually, journey, openSite, phone } from './harness.mjs';

const site = await openSite();
const receiver = await startReceiver();
after(() => receiver.close());

// The rows of the list of events, by the ids of their events.
const ids = (v) => v.main.locator('tbody tr td:nth-child(2) a').evaluateAll((links) => links.map((a) => a.title));
const params = (v) => [...new URL(v.page.url()).searchParams].filter(([, value]) => value !== '').map((p) => p.join('=')).sort();
const chips = (v) => v.main.getByRole('list', { name: 'Filters in force' }).getByRole('listitem')
  .evaluateAll((items) => items.map((i) => i.innerText.replace(/^Remove filter\s*/, '').trim()).filter((t) => t !== 'Clear all'));

// orders makes a tenant with two events, of which one has failed at one of its destinations.
async function orders() {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'good', name: 'Good' });
  await site.destination(tenant, { id: 'bad', name: 'Bad', topics: ['order.paid'], config: { answer: '500' } });
  const paid = await site.publish(tenant, { topic: 'order.paid' });
  await site.publish(tenant, { topic: 'order.created' });
  await site.settled(tenant, paid.id);
  return { tenant, paid };
}

journey(site, 'the list is filtered by status, destination, topic and time, all in the address', async (v) => {
  const { tenant, paid } = await orders();
  await v.open(`/t/${tenant}/events`);
  assert.equal((await ids(v)).length, 2);
  await v.open(`/t/${tenant}/events?status=failed&destination_id=bad&topic=order.paid&range=24h`);
  assert.deepEqual(await ids(v), [paid.id]);
  assert.deepEqual(await chips(v), ['Time: Last 24 hours', 'Status: Failed', 'Destination: Bad', 'Topic: order.paid']);
  assert.equal(await v.field('Destination').inputValue(), 'bad', 'the form shows what is in force');
  const same = await site.api('GET', `/events?tenant_id=${tenant}&status=failed&destination_id=bad&topic=order.paid`);
  assert.deepEqual(same.models.map((e) => e.id), [paid.id]);

  await v.follow(/Status: Failed/);
  assert.deepEqual(params(v), ['destination_id=bad', 'range=24h', 'topic=order.paid']);
  await v.arrives(() => v.page.goBack());
  assert.equal((await chips(v)).length, 4, 'going back brings the filter back');
  await v.follow('Clear all');
  assert.deepEqual(params(v), []);
  await v.arrives(() => v.main.getByRole('navigation', { name: 'Quick views' }).getByRole('link', { name: 'Failed' }).click());
  assert.deepEqual(await ids(v), [paid.id]);
  await v.open(`/t/${tenant}/events?topic=nobody`);
  await v.sees('No event matches');
});

journey(site, 'a search for text in payloads and for an id', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox' });
  const needle = await site.publish(tenant, { id: 'needle-1', data: { customer: { email: 'needle@example.com' } } });
  await site.publish(tenant, { data: { customer: { email: 'straw@example.com' } } });
  for (const text of ['needle@', needle.id]) {
    await v.open(`/t/${tenant}/events?q=${text}`);
    assert.deepEqual(await ids(v), [needle.id], text);
    assert.deepEqual(await chips(v), [`Search: ${text}`]);
  }
});

journey(site, 'the form that filters events', async (v) => {
  const { tenant, paid } = await orders();
  await v.open(`/t/${tenant}/events`);
  await v.main.locator('summary', { hasText: 'More filters' }).click();
  await v.main.getByRole('checkbox', { name: 'Failed' }).check();
  await v.field('Destination').selectOption('bad');
  await v.field('Topic').fill('order.paid');
  await v.field('Time').selectOption('24h');
  await v.press('Apply filters');
  assert.deepEqual(await ids(v), [paid.id]);
  assert.deepEqual(params(v), ['destination_id=bad', 'range=24h', 'status=failed', 'topic=order.paid']);
});

journey(site, 'the form that filters events, on a phone', { size: phone }, async (v) => {
  const { tenant } = await orders();
  await v.open(`/t/${tenant}/events`);
  await v.main.locator('summary', { hasText: 'More filters' }).click();
  await v.field('Topic').fill('order.paid');
  await v.press('Apply filters');
  assert.deepEqual(await chips(v), ['Topic: order.paid']);
});

journey(site, 'the search field for events', async (v) => {
  const { tenant, paid } = await orders();
  await v.open(`/t/${tenant}/events`);
  await v.main.getByRole('searchbox').fill(paid.id);
  await v.press('Apply');
  assert.deepEqual(await ids(v), [paid.id]);
});

journey(site, 'a long text to search for', { size: phone }, async (v) => {
  const { tenant } = await orders();
  await v.open(`/t/${tenant}/events?q=${'evt_01a1fbf200a371008d8244575b01b4e4'.repeat(2)}`);
});

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

  const received = v.main.getByRole('columnheader', { name: /^Age/ });
  assert.equal(await received.getAttribute('aria-sort'), 'descending');
  await v.follow('Age', { within: received });
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
  await v.openRow(/…/);
  assert.equal(await v.heading.textContent(), 'Event order.created');
  assert.equal(await v.fact('Event ID').locator('span.font-mono').textContent(), id);
  assert.match(await v.fact('source').textContent(), /shop/);
  await v.sees('Failed', v.row('Billing'));
  const attempts = v.main.getByRole('list', { name: 'Attempts, newest first' }).getByRole('listitem');
  assert.deepEqual((await attempts.allInnerTexts()).map((t) => t.match(/attempt (\d)/)[1]), ['3', '2', '1']);
  for (const text of await attempts.allInnerTexts()) assert.match(text, /500 · Server error[\s\S]*The receiver answered 500\.[\s\S]*Automatic/);
  const payload = v.page.locator('#payload');
  await v.sees('lines', payload);
  await v.follow('Raw', { within: payload });
  assert.match(await v.main.getByRole('region', { name: 'Payload, byte for byte' }).textContent(), /^\{"order":\{"id":7,"lines":\[\{"sku":"a"\}\]\}\}$/);

  await v.follow(/attempt 2 to Billing/);
  assert.equal(await v.heading.textContent(), 'Attempt 2');
  const error = v.main.getByRole('region', { name: /What went wrong/ });
  assert.equal(await v.fact('What happened', error).textContent(), 'The receiver answered 500.');
  assert.match(await v.fact('What to do', error).textContent(), /Check the receiver.s logs/);
  const raw = v.page.locator('#raw-error');
  assert.ok(!await raw.isVisible());
  await error.locator('summary').click();
  assert.equal(await raw.textContent(), '500 Internal Server Error');
  assert.match(await v.main.locator('details', { hasText: 'of the request' }).textContent(), /webhook-id/i);
  assert.match(await v.main.locator('details', { hasText: 'of the response' }).textContent(), /x-trace\s*abc/i);
  await v.main.locator('summary', { hasText: /^\s*Show \d/ }).click(); // a long one is folded
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

journey(site, 'an event tells why a destination did not get it', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'big', name: 'Big orders', filter: { total: { $gte: 10 } } });
  await site.destination(tenant, { id: 'users', name: 'Users', topics: ['user.created'] });
  await site.destination(tenant, { id: 'all', name: 'Everything' });
  const { id } = await site.publish(tenant, { data: { total: 4 } });
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/events/${id}`);
  assert.match(await v.row('Big orders').innerText(), /Filtered out[\s\S]*data\.total.* is 4, needs at least 10/);
  assert.match(await v.row('Users').innerText(), /Not sent[\s\S]*does not subscribe to order\.created/);
  assert.match(await v.row('Everything').innerText(), /Delivered/);
  await v.open(`/t/${tenant}/events?status=filtered_out`);
  assert.deepEqual(await ids(v), [id]);
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
  const retry = v.button(/^Retry to/);
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
  await site.api('PATCH', `/tenants/${tenant}/destinations/slow`, { config: { answer: 'slow', delay_ms: '5000' } });
  await v.open(`/t/${tenant}/events/${id}`);
  const other = await site.visitor({ js: v.js });
  await other.open(`/t/${tenant}/events/${id}`);
  await v.press(/^Retry to/);
  await other.press(/^Retry to/);
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
  await eventually(async () => (await site.api('GET', `/incidents?tenant_id=${tenant}`)).total === 1, 'the incident');
  await v.open(`/t/${tenant}`);
  await v.sees('Needs attention');
  await v.sees('1 failing of 2 destinations');
  await v.follow('Review');
  assert.equal(v.path, `/t/${tenant}/destinations/bad/deliveries?status=failed`);
  await v.press(/^Retry to/);
  await v.sees(/^\s*Retry queued/);
  assert.equal(v.path, `/t/${tenant}/destinations/bad/deliveries?status=failed`);
  await v.follow('Show the event');
  assert.equal(v.path, `/t/${tenant}/events/${id}`);
});

journey(site, 'an event whose id holds a plus', async (v) => {
  const tenant = await site.tenant();
  await site.publish(tenant, { id: 'one+one' });
  await v.open(`/t/${tenant}/events`);
  await v.openRow('one+one');
});

// Whatever callers put into names and payloads is text on the pages, and nothing else.
const script = '<script>window.broken=1</script><img src=x onerror=window.broken=1>';

journey(site, 'text of strangers stays text', async (v) => {
  const tenant = await site.tenant();
  receiver.answers(500, `${script}</pre>`, { 'x-bad': script });
  await site.destination(tenant, {
    id: 'hook', type: 'webhook', name: script, config: { url: `${receiver.url}?x="><script>window.broken=1</script>`, custom_headers: { 'X-Y': script } },
    metadata: { [script]: script }, delivery_metadata: { note: script }, filter: { note: { $neq: script } },
  });
  const { id } = await site.publish(tenant, { id: `a|b~c=d@e:${v.js}`, topic: 'order.created', metadata: { key: script }, data: { [script]: script, javascript: 'javascript:alert(1)' } });
  await site.settled(tenant, encodeURIComponent(id));
  receiver.answers(200);
  await site.api('PUT', `/tenants/${tenant}/destinations/hook/disable`, { reason: script });
  const [attempt] = (await site.api('GET', `/attempts?tenant_id=${tenant}`)).models;
  const event = `/t/${tenant}/events/${encodeURIComponent(id)}`;
  for (const path of ['', '/destinations', '/destinations/hook', '/destinations/hook/settings', '/destinations/hook/filter', '/destinations/hook/filter?view=json', '/destinations/hook/deliveries', '/destinations/hook/delete', '/destinations/hook/enable', '/events', `/attempts/${attempt.id}`, `/events?q=${encodeURIComponent('<img src=x>')}&topic=${encodeURIComponent('"><b>x')}`]) {
    await v.open(`/t/${tenant}${path}`);
    assert.equal(await v.page.evaluate(() => window.broken), undefined, path);
    assert.equal(await v.page.locator('img, main script').count(), 0, path);
  }
  await v.open(event);
  await v.open(`${event}?view=raw`);
  assert.equal(await v.page.evaluate(() => window.broken), undefined);
  assert.equal(await v.page.locator('img, main script, a[href^="javascript:"]').count(), 0);
});
