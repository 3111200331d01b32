// The operators' own destinations: what happens to all tenants, sent somewhere.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startReceiver } from '../lib/receiver.mjs';
import { eventually, journey, openSite, phone } from './harness.mjs';

const site = await openSite();
const receiver = await startReceiver();
after(() => receiver.close());

for (const size of [undefined, phone]) {
  journey(site, `operators are told of attempts that fail${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    const name = `On call ${v.js}${v.size.width}`;
    await v.open('/tenants');
    await v.follow('Operator events', { within: v.page.getByRole('navigation', { name: 'Main' }) });
    assert.equal(v.path, '/t/_operators/destinations');
    await v.sees(/alerts, attempts and changes of all tenants/i);
    await v.follow('Add destination');
    await v.main.getByRole('radio', { name: /^Webhook/ }).check();
    await v.press('Continue');
    await v.field('Name').fill(name);
    await v.field('URL').fill(receiver.url);
    await v.main.getByRole('radio', { name: 'Only these:' }).check();
    await v.main.getByRole('checkbox', { name: 'attempt.failed' }).check();
    await v.press('Create destination');
    await v.sees('The destination was created.');
    const id = v.path.split('/').at(-1);

    const tenant = await site.tenant();
    await site.destination(tenant, { id: 'bad', name: 'Bad', config: { answer: '500' } });
    await eventually(async () => {
      await site.publish(tenant);
      return receiver.requests.some((r) => r.headers['waybill-topic'] === 'attempt.failed' && JSON.parse(r.body).tenant_id === tenant);
    }, 'the operator event');
    const about = await eventually(async () => (await site.api('GET', `/deliveries?tenant_id=_operators&destination_id=${id}&status=delivered`)).models[0], 'its delivery');
    await v.open(`/t/_operators/destinations/${id}/deliveries`);
    await v.sees('attempt.failed');
    await v.open(`/t/_operators/events/${about.event_id}`);
    await v.sees(name);

    // Nobody can publish there, so no page says how to.
    await v.open('/t/_operators');
    assert.doesNotMatch(await v.main.innerText(), /First steps|api\/v1\/publish'/);
    await v.open(`/t/_operators/destinations/${id}/delete`);
    await v.press(/^Delete/);
  });
}

for (const size of [undefined, phone]) {
  journey(site, `the tenant that needs somebody comes first, and leads to what is wrong${size ? ', on a phone' : ''}`, size ? { size } : {}, async (v) => {
    const [well, ill] = [await site.tenant(), await site.tenant()];
    await site.destination(well, { id: 'good', name: 'Good' });
    for (const id of ['bad', 'worse']) await site.destination(ill, { id, name: `Legacy ${id}`, config: { answer: '500' } });
    await site.publish(well);
    const { id } = await site.publish(ill);
    await site.settled(ill, id);
    await eventually(async () => (await site.api('GET', `/tenants?include=numbers&id=${ill}`)).models[0].numbers.failing === 2, 'the failing destinations');
    await v.open('/tenants');
    const row = v.main.locator('tbody tr').filter({ hasText: ill });
    assert.match(await row.innerText(), /2 failing/);
    const place = async (tenant) => (await v.main.locator('tbody tr').allInnerTexts()).findIndex((t) => t.includes(tenant));
    assert.ok(await place(ill) < await place(well), 'the failing one is above the healthy one');
    await v.main.getByLabel('Sort by').selectOption({ label: 'Sort by name' });
    await v.main.getByLabel('Direction').selectOption({ label: 'Ascending' });
    await v.press('Search');
    assert.equal(await place(ill) < await place(well), ill < well, 'by name');
    await v.open('/tenants');
    await v.follow(ill, { within: row });
    assert.equal(v.path, `/t/${ill}`);
    await v.sees(/Legacy worse/);
  });
}

journey(site, 'the events of all tenants are one list, narrowed to one of them', async (v, { js }) => {
  const [one, other] = [await site.tenant(), await site.tenant()];
  await site.destination(one, { id: 'bad', name: 'Legacy CRM', config: { answer: '500' } });
  await site.destination(other, { id: 'good', name: 'Good' });
  const failed = await site.publish(one);
  const fine = await site.publish(other);
  await site.settled(one, failed.id);
  await site.settled(other, fine.id);
  await v.open('/tenants');
  await v.follow('Events', { within: v.page.getByRole('navigation', { name: 'Main' }) });
  assert.equal(v.path, '/events');
  const row = (id) => v.main.locator(`tbody tr[id="row-${id}"]`);
  assert.match(await row(fine.id).innerText(), new RegExp(other));
  await v.main.getByLabel('Tenant', { exact: true }).fill(one);
  await v.press('Apply');
  await v.sees(`Tenant: ${one}`);
  assert.equal(await row(fine.id).count(), 0);
  assert.match(await row(failed.id).innerText(), /Legacy CRM: 500/);
  if (js) {
    await row(failed.id).locator('a.rowlink').click();
    const inspector = v.page.locator('#inspect');
    await inspector.getByText('Legacy CRM').first().waitFor();
    await v.check();
    await v.arrives(() => inspector.getByRole('link', { name: 'Open the whole page' }).click());
  } else {
    await v.arrives(() => row(failed.id).locator('a.rowlink').click());
  }
  assert.equal(v.path, `/t/${one}/events/${failed.id}`);
});
