// What few destinations need: signatures made to measure, and limits of manual retries.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after } from 'node:test';
import { startReceiver } from '../lib/receiver.mjs';
import { journey, openSite, phone } from './harness.mjs';

const site = await openSite();
const receiver = await startReceiver();
after(() => receiver.close());

const unfold = (v, summary) => v.main.locator('summary', { hasText: summary }).click();

for (const size of [undefined, phone]) {
  journey(site, `a webhook is signed as its receiver expects${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    const tenant = await site.tenant();
    await v.open(`/t/${tenant}/destinations/new?type=webhook`);
    await v.field('URL').fill(receiver.url);
    await v.field('Signing secret').fill('a secret as it is');
    await unfold(v, 'Delivery settings');
    await unfold(v, 'Advanced');
    await v.field('Signature header').fill('X-Shop-Hmac');
    await v.press('Create destination', { status: 422 }); // for the signature is still the usual one

    await v.field('Signature').and(v.main.locator('[name=signature]')).selectOption({ label: 'Custom: set it up in the fields below' });
    await v.field('Signing secret').fill('a secret as it is');
    assert.equal(await v.field('Encoding').locator('option:checked').innerText(), 'Hex (default)');
    await v.field('Encoding').selectOption({ label: 'Base64' });
    await v.field('Signed content').fill('{{.Nothing}}');
    await v.press('Create destination', { status: 422 });
    await v.isRefused('config.signature_content', /Nothing/);

    await v.field('Signing secret').fill('a secret as it is');
    await v.field('Signed content').fill('{{.Timestamp.Unix}}.{{.Body}}');
    await v.field('Value of the header').fill('{{.Signatures | join ","}}');
    await v.field('Timestamp header').fill('X-Shop-Time');
    await v.press('Create destination');
    await v.sees('The destination was created.');

    receiver.requests.length = 0;
    await site.publish(tenant, { data: { order: 17 } });
    const [{ headers, body }] = receiver.requests;
    assert.equal(headers['x-shop-hmac'], createHmac('sha256', 'a secret as it is').update(`${headers['x-shop-time']}.${body}`).digest('base64'));
    assert.equal(headers['webhook-signature'], undefined);

    // The settings show it all again.
    await v.follow('Settings');
    await v.field('Signature header').waitFor({ state: 'visible' });
    assert.equal(await v.field('Signature header').inputValue(), 'X-Shop-Hmac');
    assert.equal(await v.field('Encoding').inputValue(), 'base64');
  });
}

journey(site, 'manual retries are limited by form, and what goes beyond is refused', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'shop', name: 'Shop', config: { answer: '500' } });
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/destinations/shop/settings`);
  await unfold(v, 'Delivery settings');
  await v.field('Manual retries of a delivery').fill('many');
  await v.press('Save changes', { status: 422 });
  await v.isRefused('manual_retry_limit', /number/);
  await v.field('Manual retries of a delivery').fill('1');
  await v.field('Manual retries an hour').fill('5');
  await v.press('Save changes');
  assert.match(await v.fact('Manual retries').innerText(), /\b1\b.*\b5\b/s);

  const retry = () => v.arrives(() => v.main.getByRole('button', { name: /^Retry( now)?\s+to Shop/ }).click());
  await v.open(`/t/${tenant}/events/${id}`);
  await retry();
  await v.sees('Retry queued');
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/events/${id}`);
  await retry();
  assert.match(await v.banner.innerText(), /retried by hand 1 time, which is the limit .*destination shop/);
  assert.equal((await site.api('GET', `/attempts?tenant_id=${tenant}&event_id=${id}&trigger=manual`)).models.length, 1, 'it was not tried again');
});
