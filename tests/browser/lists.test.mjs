// Operators with many destinations: the list in pages, forms that do not list them all, and what the overview tells.
import assert from 'node:assert/strict';
import { eventually, journey, openSite, phone } from './harness.mjs';

const site = await openSite();

let many; // a tenant with 201 destinations, of which one fails and one is disabled
function manyDestinations() {
  many ??= (async () => {
    const tenant = await site.tenant('many');
    for (let n = 1; n <= 201; n += 10) {
      await Promise.all(Array.from({ length: Math.min(10, 202 - n) }, (_, i) => site.destination(tenant, {
        id: `d-${n + i}`, name: `Customer ${String(n + i).padStart(3, '0')}`, topics: n + i === 7 ? '*' : ['order.paid'], config: { answer: '500' },
      })));
    }
    await site.api('PUT', `/tenants/${tenant}/destinations/d-9/disable`, { reason: 'Maintenance' });
    const { id } = await site.publish(tenant, { topic: 'order.created' });
    await site.settled(tenant, id);
    await eventually(async () => (await site.api('GET', `/tenants/${tenant}/destinations/d-7/health`)).failures_in_a_row > 0, 'the health of d-7');
    return { tenant, id };
  })();
  return many;
}

const names = (v) => v.main.locator('tbody tr td:first-child a').allInnerTexts();

journey(site, 'two hundred destinations come in pages', async (v) => {
  const { tenant } = await manyDestinations();
  await v.open(`/t/${tenant}/destinations?sort=name`);
  const seen = await names(v);
  assert.equal(seen.length, 50);
  await v.sees('1 to 50 of 201 destinations');
  for (let page = 2; page <= 5; page++) {
    await v.follow('Next');
    seen.push(...await names(v));
  }
  assert.deepEqual(seen, Array.from({ length: 201 }, (_, i) => `Customer ${String(i + 1).padStart(3, '0')}`));
  await v.sees('201 to 201 of 201 destinations');
  assert.equal(await v.link('Next', { exact: true }).count(), 0);
  await v.follow('Previous');
  assert.equal((await names(v))[0], 'Customer 151');
  await v.open(`/t/${tenant}/destinations?next=gone`);
  await v.sees('The list has changed since you looked at it. This is its first page.');

  await v.open(`/t/${tenant}/destinations`);
  await v.follow('State');
  assert.deepEqual((await names(v)).slice(0, 2), ['Customer 009', 'Customer 007'], 'what needs attention comes first');
  assert.match(await v.row('Customer 007').innerText(), /1 first attempt failed/);
  await v.row('Customer 009').locator('summary', { hasText: 'Actions for Customer 009' }).press('Enter');
  await v.follow('Enable …');
  assert.equal(v.path, `/t/${tenant}/destinations/d-9/enable`);
});

journey(site, 'forms of a tenant with very many destinations ask for an id', async (v) => {
  const { tenant, id } = await manyDestinations();
  await v.open(`/t/${tenant}/events`);
  await v.main.locator('summary', { hasText: 'More filters' }).click();
  await v.field('Destination').fill('d-7');
  await v.press('Apply filters');
  await v.sees(id.slice(-6));
  await v.open(`/t/${tenant}/alerts/rules/new`);
  await v.main.getByLabel('Only these destinations:').check();
  await v.field('Destinations').and(v.main.locator('input[type=text], input:not([type])')).fill('d-7, d-9');
  await v.field('Name').fill('Two of many');
  await v.press('Create rule');
  await v.follow('Two of many');
  const box = v.field('Destinations').and(v.main.locator('[name=destination_ids]'));
  assert.equal(await box.inputValue(), 'd-7, d-9', 'both are there to be changed');
  await v.press('Save changes');
  const { models } = await site.api('GET', `/tenants/${tenant}/alert-rules`);
  assert.deepEqual(models.find((r) => r.name === 'Two of many').destination_ids, ['d-7', 'd-9']);
  for (const r of models.filter((m) => m.name === 'Two of many')) await site.api('DELETE', `/tenants/${tenant}/alert-rules/${r.id}`);
});

for (const size of [undefined, phone]) {
  journey(site, `the overview says what failed, of any time${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    const { tenant, id } = await manyDestinations();
    await v.open(`/t/${tenant}`);
    await v.follow('7d');
    assert.equal(v.path, `/t/${tenant}?range=7d`);
    const failed = v.main.getByRole('region', { name: 'Recent errors' });
    assert.match(await failed.innerText(), /500[\s\S]*Customer 007\s*(Times:\s*)?1\s/);
    await v.follow(/500/, { within: failed });
    assert.equal(v.path, `/t/${tenant}/events?destination_id=d-7&error_class=server&range=7d&status=failed&status=retrying`);
    await v.sees(id.slice(-6));

    await v.open(`/t/${tenant}?range=1h`);
    assert.match(await v.main.getByRole('link', { name: /^First-attempt success/ }).innerText(), /%/);
    await v.main.locator('summary', { hasText: 'Show as table' }).click();
    const failing = v.main.getByRole('region', { name: /as a table$/ }).locator('tbody tr', { has: v.page.locator('td:last-child', { hasText: /^1$/ }) });
    await v.arrives(() => failing.getByRole('link').click());
    await v.sees(id.slice(-6));
    assert.match(v.path, /since=.*until=/);
  });
}

journey(site, 'an id leads straight to what it is the id of', async (v) => {
  const { tenant, id } = await manyDestinations();
  const [attempt] = (await site.api('GET', `/attempts?tenant_id=${tenant}&destination_id=d-7`)).models;
  const [delivery] = (await site.api('GET', `/deliveries?tenant_id=${tenant}&destination_id=d-7`)).models;
  const find = async (text) => {
    await v.open(`/t/${tenant}/topics`);
    if (v.js) {
      await v.page.keyboard.press('Control+k');
      const box = v.page.getByRole('combobox', { name: 'Name, ID or text' });
      await v.hasFocus(box);
      await box.fill(text);
      await v.page.getByRole('option').filter({ hasText: text.trim().slice(-6) }).first().waitFor();
      await v.arrives(() => box.press('Enter'));
    } else {
      await v.follow('Find or jump to', { within: v.page });
      const box = v.main.getByRole('searchbox');
      await box.fill(text);
      await v.arrives(() => box.press('Enter'));
      if (v.path.startsWith(`/t/${tenant}/find`)) await v.follow(/^Search events for/);
    }
    return v.path.slice(`/t/${tenant}`.length);
  };
  assert.equal(await find(` ${id} `), `/events/${id}`);
  assert.equal(await find(attempt.id), `/attempts/${attempt.id}`);
  assert.equal(await find(delivery.id), `/events/${id}`);
  assert.equal(await find('d-7'), '/destinations/d-7');
  assert.equal(await find('ann@example.com'), '/events?q=ann%40example.com', 'what is no id is searched for in payloads');
});
