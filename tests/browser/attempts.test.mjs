// Attempts: what would have been sent, all that have failed of an event retried at once, and two compared.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startReceiver } from '../lib/receiver.mjs';
import { journey, openSite, phone } from './harness.mjs';

const site = await openSite({ env: {
  MANUAL_RETRY_LIMIT: '1', LOGS_URL: 'https://logs.example.com/?q={attempt_id}', TRACES_URL: 'https://traces.example.com/{trace_id}',
} });

// Receivers answer 500 until they are told otherwise.
async function failing(tenant, ...names) {
  return Promise.all(names.map(async (name) => {
    const receiver = await startReceiver();
    after(() => receiver.close());
    receiver.answers(500, '{"error": "down", "region": "eu"}', { 'content-type': 'application/json', 'x-node': 'one' });
    await site.destination(tenant, { id: name.toLowerCase(), type: 'webhook', name, config: { url: receiver.url } });
    return receiver;
  }));
}

for (const size of [undefined, phone]) {
  journey(site, `everything of an event that has failed is retried with one button${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    const tenant = await site.tenant();
    const [one, two] = await failing(tenant, 'One', 'Two');
    await site.destination(tenant, { id: 'off', name: 'Off' });
    await site.api('PUT', `/tenants/${tenant}/destinations/off/disable`, { reason: 'Maintenance' });
    const { id } = await site.publish(tenant);
    await site.settled(tenant, id);
    one.answers(200);
    two.answers(200);
    await v.open(`/t/${tenant}/events/${id}`);
    await v.press('Retry all 2 failed');
    assert.equal((await v.banner.innerText()).trim(), 'Retry queued for 2 deliveries.');
    const list = await site.settled(tenant, id);
    assert.deepEqual(list.map((d) => [d.destination_id, d.status]).sort(), [['off', 'held'], ['one', 'delivered'], ['two', 'delivered']]);
    await v.settles();
    assert.equal(await v.button(/Retry (all|the failed)/).count(), 0);
  });
}

journey(site, 'what cannot be retried of an event is said', async (v) => {
  const tenant = await site.tenant();
  await failing(tenant, 'One', 'Two');
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  await site.api('POST', '/retry', { tenant_id: tenant, event_id: id, destination_id: 'one' });
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/events/${id}`);
  await v.press('Retry all 2 failed');
  assert.match(await v.banner.innerText(), /^Retry queued for 1 delivery\. 1 delivery could not be queued: .*MANUAL_RETRY_LIMIT/);
  await site.settled(tenant, id);
});

journey(site, 'two attempts are compared', async (v) => {
  const tenant = await site.tenant();
  const [receiver] = await failing(tenant, 'Billing');
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  receiver.answers(200, '{"error": null, "region": "eu"}', { 'content-type': 'application/json', 'x-mode': 'new' });
  await site.api('POST', '/retry', { tenant_id: tenant, event_id: id, destination_id: 'billing' });
  await site.settled(tenant, id);

  await v.open(`/t/${tenant}/events/${id}`);
  assert.equal(await v.field('Compare').locator('option:checked').innerText(), 'Billing, attempt 3: failed', 'the last failure');
  assert.equal(await v.field('with').locator('option:checked').innerText(), 'Billing, attempt 4: succeeded', 'and the last success');
  await v.press('Compare');
  const words = async (section, row) => (await v.row(row, v.main.getByRole('region', { name: `${section}: differences` })).innerText()).split('\t').map((t) => t.trim());
  assert.deepEqual(await words('Outcome', 'Response code'), ['Changed', 'Response code', '500', '200']);
  assert.deepEqual(await words('Response headers', 'x-node'), ['Removed', 'x-node', 'one', '']);
  assert.deepEqual(await words('Response headers', 'x-mode'), ['Added', 'x-mode', '', 'new']);
  assert.deepEqual(await words('Response body', '"down"'), ['Changed', '2 / 2', '"error": "down",', '"error": null,']);
  const marks = (text) => v.row(text, v.main.getByRole('region', { name: 'Response body: differences' })).locator('mark').allInnerTexts();
  assert.deepEqual(await marks('"down"'), ['"down"', 'null'], 'the words that differ');
  await v.sees(/The same, byte for byte/);

  // What differs between any two attempts is left out until somebody asks for it.
  const always = v.main.getByRole('rowheader', { name: /^(Started|Attempt|webhook-signature|webhook-timestamp)$/ }).and(v.main.locator(':visible'));
  assert.equal(await always.count(), 0);
  await v.sees(/^\s*Not shown: \d+ differences that any two attempts have/);
  await v.follow('Show all differences');
  assert.deepEqual((await words('Outcome', 'Started')).slice(0, 2), ['Changed', 'Started']);
  await v.follow('Leave these out');
  assert.equal(await always.count(), 0);
  const same = v.main.locator('details', { hasText: 'rows the same' }).filter({ hasText: '"region": "eu"' });
  assert.equal(await same.getAttribute('open'), null, 'what is the same is folded');

  await v.follow('Attempt 4, succeeded');
  await v.follow('Compare with attempt 3');
  assert.equal(await v.heading.innerText(), 'Compare attempts');
  await v.open(`/t/${tenant}/attempts/compare?a=${id}`, { status: 404 });
});

journey(site, 'an attempt that found nobody shows the request that would have gone', async (v) => {
  const tenant = await site.tenant();
  const receiver = await startReceiver();
  await receiver.close(); // nobody listens there now
  await site.destination(tenant, { id: 'gone', type: 'webhook', name: 'Gone', config: { url: receiver.url, custom_headers: { Authorization: 'Bearer planted' } } });
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const { id } = await site.api('POST', '/publish', { tenant_id: tenant, topic: 'order.created', data: { n: 1 } }, { prefer: 'wait=20', traceparent: `00-${trace}-b7ad6b7169203331-01` });
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/events/${id}`);
  await v.follow(/^Failed/, { within: v.main.getByRole('list', { name: 'Attempts, newest first' }) });
  await v.sees('It was not sent:');
  await v.sees(`POST ${receiver.url}`);
  const headers = v.main.locator('details', { hasText: 'of the request' });
  assert.match(await headers.innerText(), new RegExp(`webhook-id\\s+${id}`));
  assert.ok(!(await v.page.content()).includes('planted'), 'credentials are masked');
  await v.sees('Nothing came back.');
  assert.match(await v.main.getByRole('region', { name: 'Log' }).innerText(), /^connect: failed after .*refused/);
  const attempt = v.path.split('/').at(-1);
  assert.equal(await v.link('Logs').getAttribute('href'), `https://logs.example.com/?q=${attempt}`);
  assert.equal(await v.link('Trace').getAttribute('href'), `https://traces.example.com/${trace}`);
});
