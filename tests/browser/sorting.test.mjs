// Lists in any order: by their column headers, by the choices beside the search, on a phone.
import assert from 'node:assert/strict';
import { journey, openSite, phone } from './harness.mjs';

const site = await openSite();

let shop; // a tenant with events whose topics, times and numbers of attempts all differ in order
function theShop() {
  shop ??= (async () => {
    const tenant = await site.tenant('shop');
    await site.destination(tenant, { id: 'good', name: 'Good', topics: ['b', 'c'] });
    await site.destination(tenant, { id: 'bad', name: 'Bad', topics: ['a', 'c'], config: { answer: '500' } });
    for (const [id, topic, hours] of [['one', 'b', 2], ['two', 'a', 3], ['three', 'c', 1]]) {
      await site.publish(tenant, { id, topic, time: new Date(Date.now() - hours * 3_600_000).toISOString() });
      await site.settled(tenant, id);
    }
    return tenant;
  })();
  return shop;
}

const rows = (v) => v.main.locator('tbody tr td:nth-child(2) a').allInnerTexts();
const header = (v, name) => v.main.getByRole('columnheader', { name });
const sorted = (v) => v.main.locator('th[aria-sort]').evaluateAll((list) => list.map((e) => `${e.innerText.replace(/[↑↓]/, '').trim()} ${e.getAttribute('aria-sort')}`));

journey(site, 'events are sorted by a header, and the other way round by the same', async (v) => {
  const tenant = await theShop();
  await v.open(`/t/${tenant}/events`);
  assert.deepEqual(await rows(v), ['three', 'two', 'one'], 'the newest first');
  assert.deepEqual(await sorted(v), ['Age descending']);
  await v.follow('Topic', { within: header(v, 'Topic') });
  assert.equal(v.path, `/t/${tenant}/events?dir=asc&order_by=topic`);
  assert.deepEqual(await rows(v), ['two', 'one', 'three']);
  assert.deepEqual(await sorted(v), ['Topic ascending']);
  await v.follow('Topic', { within: header(v, 'Topic') });
  assert.deepEqual(await rows(v), ['three', 'one', 'two']);
  assert.deepEqual(await sorted(v), ['Topic descending']);
  await v.follow('Tries', { within: header(v, 'Tries') });
  assert.deepEqual((await rows(v)).at(-1), 'one', 'most attempts first');

  // What the list is filtered by stays, and the order stays when it is filtered.
  await v.open(`/t/${tenant}/events?topic=a&topic=b`);
  await v.follow('Topic', { within: header(v, 'Topic') });
  assert.deepEqual(await rows(v), ['two', 'one']);
  await v.follow('Failed', { within: v.page.getByRole('navigation', { name: 'Quick views' }) });
  assert.deepEqual(await rows(v), ['two']);
  assert.deepEqual(await sorted(v), ['Topic ascending']);
});

for (const size of [undefined, phone]) {
  journey(site, `the order is chosen beside the search${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    const tenant = await theShop();
    await v.open(`/t/${tenant}/events`);
    await v.main.locator('summary', { hasText: 'More filters' }).click();
    await v.main.getByLabel('Sort by').selectOption({ label: 'Sort by happened' });
    await v.main.getByLabel('Direction').selectOption({ label: 'Ascending' });
    await v.press('Apply filters');
    assert.deepEqual(await rows(v), ['two', 'one', 'three']);
    if (!size) await header(v, 'Happened').waitFor();

    await v.open(`/t/${tenant}/destinations/bad/deliveries`);
    await v.main.getByLabel('Sort by').selectOption({ label: 'Sort by topic' });
    await v.main.getByLabel('Direction').selectOption({ label: 'Ascending' });
    await v.press('Apply', { exact: true });
    assert.deepEqual(await rows(v), ['two', 'three']);
    assert.deepEqual(await sorted(v), ['Topic ascending']);
  });
}
