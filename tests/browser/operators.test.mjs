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
