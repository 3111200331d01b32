// Filters: built from rows, tried on recent events, converted between views, saved with a warning, and used as a search.
import assert from 'node:assert/strict';
import { eventually, journey, openSite, phone } from './harness.mjs';

const site = await openSite();

// shop is a tenant with a destination and some orders.
async function shop({ orders = 12, filter } = {}) {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'big', name: 'Big orders', topics: ['order.created'], ...(filter && { filter }) });
  for (let i = 1; i <= orders; i++) {
    await site.api('POST', '/publish', {
      tenant_id: tenant, id: `order-${i}`, topic: 'order.created',
      data: { status: i % 3 === 0 ? 'open' : 'paid', total: 10 * i, customer: { email: `c${i}@example.${i % 2 ? 'com' : 'org'}`, vip: i % 4 === 0 }, lines: [{ sku: 'poster', price: '4.50' }, { sku: `album-${i}`, price: `${i}.99` }] },
    }, { prefer: 'wait=10' });
  }
  return { tenant, page: `/t/${tenant}/destinations/big/filter`, filterOf: async () => (await site.api('GET', `/tenants/${tenant}/destinations/big`)).filter };
}

const rule = (v, n) => v.main.getByRole('group', { name: `Rule ${n}`, exact: true });
const control = (v, n, label) => rule(v, n).getByLabel(label, { exact: true });

// fill writes a rule.
async function fill(v, n, field, condition, value) {
  await control(v, n, 'Field').fill(field);
  await control(v, n, 'Condition').selectOption({ label: condition });
  if (value !== undefined) await control(v, n, 'Value').fill(value);
}

journey(site, 'a filter of three rules is built, tried and saved, and events obey it', async (v, { js }) => {
  const { tenant, page, filterOf } = await shop();
  await v.open(page);
  await v.sees('No filter: every event of the subscribed topics is delivered.');
  await v.sees('12 of the last 12 events match');
  await v.press('An amount is at least …');
  assert.equal(await control(v, 1, 'Field').inputValue(), 'total', 'the example takes a field that was seen');
  await v.sees('Number, for example 120, in 12 of the last 12.');
  await control(v, 1, 'Value').fill('50');
  if (js) await v.sees('8 of the last 12 events match'); // by itself
  else {
    await v.press('Test');
    await v.sees('8 of the last 12 events match');
  }
  await v.sees('Against the saved filter: 4 more would stop being delivered.');
  await v.press('Add rule');
  await v.hasFocus(control(v, 2, 'Field'));
  await fill(v, 2, 'customer.email', 'ends with', '.com');
  await v.press('Add rule');
  await fill(v, 3, 'status', 'is one of', 'paid');
  await v.press('Test');
  await v.sees('3 of the last 12 events match');
  const verdicts = v.main.locator('#trial li');
  assert.match(await verdicts.filter({ hasText: 'order-9' }).innerText(), /No match[\s\S]*Rule 3:\s*data\.status is "open", needs "paid"/);
  assert.match(await verdicts.filter({ hasText: 'order-12' }).innerText(), /Rule 2:\s*data\.customer\.email is "c12@example\.org", needs to end with "\.com"/);
  assert.match(await verdicts.filter({ hasText: 'order-11' }).innerText(), /Match/);

  // Nine of twelve would be stopped, which is much: it is asked for.
  await v.press('Save filter');
  await v.sees('this filter would have filtered out 9 (75%)');
  await v.press('Back to the filter');
  assert.equal(await control(v, 3, 'Value').inputValue(), 'paid');
  await v.press('Save filter');
  await v.press('Save the filter');
  await v.sees('The filter is saved, and in force for the next event.');
  assert.deepEqual(await filterOf(), { total: { $gte: 50 }, customer: { email: { $endsWith: '.com' } }, status: 'paid' });

  const send = (id, total) => site.api('POST', '/publish', { tenant_id: tenant, id, topic: 'order.created', data: { status: 'paid', total, customer: { email: 'x@example.com' } } });
  assert.deepEqual((await send('small', 49)).destination_ids, []);
  assert.deepEqual((await send('large', 51)).destination_ids, ['big']);
  await eventually(async () => (await site.api('GET', `/tenants/${tenant}/destinations/big/filter`)).filtered_out === 1, 'the count');
  await v.open(page);
  await v.sees('1 event filtered out');
  await v.follow('1 event filtered out');
  await v.openRow('small');
  await v.sees('Filtered out'); assert.match(await v.main.getByRole('row').filter({ hasText: 'Big orders' }).innerText(), /Rule 1: data.total is 49, needs at least 50/);
});

journey(site, 'rules by keyboard alone', { js: true }, async (v) => {
  const { page, filterOf } = await shop({ orders: 3 });
  const { keyboard } = v.page;
  await v.open(page);
  await v.button('Add rule').focus();
  await v.arrives(() => keyboard.press('Enter'));
  await v.hasFocus(control(v, 1, 'Field'));
  await keyboard.type('status');
  await keyboard.press('Tab');
  await v.hasFocus(control(v, 1, 'Condition'));
  await keyboard.type('equals');
  await keyboard.press('Tab');
  await keyboard.press('Tab');
  await v.hasFocus(control(v, 1, 'Value'));
  await keyboard.type('paid');
  await v.sees('2 of the last 3 events match');
  await v.hasFocus(control(v, 1, 'Value'));
  await v.page.keyboard.press('Shift+Tab');
  await v.page.keyboard.press('Shift+Tab');
  await v.page.keyboard.press('Shift+Tab');
  await v.arrives(() => keyboard.press('Enter')); // in a field: tests, and saves nothing
  assert.equal(await filterOf(), null);
  await v.button('Add rule').focus();
  await v.arrives(() => keyboard.press('Enter'));
  await rule(v, 2).getByRole('button', { name: 'Move up' }).focus();
  await v.arrives(() => keyboard.press('Enter'));
  assert.equal(await control(v, 2, 'Field').inputValue(), 'status');
  await v.press('Save filter', { status: 422 });
  await v.isRefused('rules[0].field', /Choose a field/i);
  await rule(v, 1).getByRole('button', { name: 'Remove' }).focus();
  await v.arrives(() => keyboard.press('Enter'));
  await v.button('Save filter').focus();
  await v.arrives(() => keyboard.press('Enter'));
  assert.deepEqual(await filterOf(), { status: 'paid' });
});

journey(site, 'from rules to JSON, to a search, and back', async (v) => {
  const { page, filterOf } = await shop({ orders: 3, filter: 'lines.price:>=2.00' });
  await v.open(page);
  assert.equal(await control(v, 1, 'Field').inputValue(), 'lines.price');
  assert.equal(await control(v, 1, 'Value').inputValue(), '2.00');
  assert.match(await rule(v, 1).locator('.hint').first().innerText(), /^Text that is compared as a number, for example "4\.50", .*in a list, where any element counts/);
  await v.press('JSON', { exact: true });
  assert.deepEqual(JSON.parse(await v.field('Filter as JSON').inputValue()), { lines: { price: { $gte: 2 } } });
  await v.press('Search', { exact: true });
  assert.equal(await v.field('Filter as a search').inputValue(), 'lines.price:>=2.00');
  await v.press('Rules', { exact: true });
  assert.equal(await control(v, 1, 'Condition').inputValue(), 'gte');

  // What cannot be understood stays as it is, with its place.
  await v.press('Search', { exact: true });
  await v.field('Filter as a search').fill('lines.price:>=2.00 OR status:paid topic:x');
  await v.press('Rules', { exact: true, status: 422 });
  await v.isRefused('filter', /line 1, column \d+/);
  assert.equal(await v.field('Filter as a search').inputValue(), 'lines.price:>=2.00 OR status:paid topic:x');
  await v.sees('Not tried:');
  await v.field('Filter as a search').fill('lines.price:>=2.00 OR (status:paid AND (total:>100 OR topic:x))');
  await v.press('Save filter');
  await v.sees('The filter is saved');
  assert.equal(await filterOf(), 'lines.price:>=2.00 OR (status:paid AND (total:>100 OR topic:x))');

  // What rows cannot show is shown for reading, with the reason, and can be changed where it can be said.
  await v.press('Rules', { exact: true });
  await v.sees('rows cannot show a group inside a group.');
  await v.sees('is at least 2.00');
  await v.press('Expression', { exact: true });
  await v.sees('The Expression view shows this filter for reading only');
  await v.press('Test');
  await v.sees('The Expression view shows this filter for reading only');
  await v.press('Change it as Search');
  assert.equal(await v.field('Filter as a search').inputValue(), 'lines.price:>=2.00 OR (status:paid AND (total:>100 OR topic:x))');
  await v.press('Expression', { exact: true });
  await v.press('Go on from the text below');
  await v.field('Filter as an expression').fill('data.total > 15 and any(data.lines, .sku startsWith "album")');
  await v.press('Save filter');
  assert.deepEqual(await filterOf(), { $expr: 'data.total > 15 and any(data.lines, .sku startsWith "album")' });
  await v.sees('2 of the last 3 events match');
});

journey(site, 'groups, an event of one\'s own, and another\'s change meanwhile', async (v) => {
  const { tenant, page, filterOf } = await shop({ orders: 2 });
  await v.open(page);
  await v.press('Add group');
  const added = v.main.getByRole('group', { name: 'Group 1', exact: true });
  await added.getByLabel('This group is true when').selectOption({ label: 'one element of a list meets all of these' });
  await v.press('Add rule', { within: added });
  const group = rule(v, 1);
  await group.getByLabel('List').fill('lines');
  const child = (n) => v.main.getByRole('group', { name: `Rule 1.${n}`, exact: true });
  await child(1).getByLabel('Field of the element').fill('sku');
  await child(1).getByLabel('Condition').selectOption({ label: 'starts with' });
  await child(1).getByLabel('Value').fill('album');
  await child(2).getByLabel('Field of the element').fill('price');
  await child(2).getByLabel('Condition').selectOption({ label: 'is at least' });
  await child(2).getByLabel('Value').fill('2');
  await v.main.getByText('Try it on an event of your own').click();
  await v.field('Payload, or a whole event').fill('{"lines": [{"sku": "poster", "price": 5}]}');
  await v.press('Test');
  await v.sees('1 of the last 2 events match');
  assert.match(await v.main.locator('#trial li').first().innerText(), /No match\s*Your event[\s\S]*needs one that/);
  await v.field('Payload, or a whole event').fill('{"lines": [');
  await v.press('Test');
  await v.sees('This text is not valid JSON at line 1');

  await site.api('PATCH', `/tenants/${tenant}/destinations/big`, { name: 'Bigger' });
  await v.press('Save filter', { status: 412 });
  await v.sees('Somebody has changed the destination since you opened this page.');
  await v.press('Save filter');
  assert.deepEqual(await filterOf(), { lines: { sku: { $startsWith: 'album' }, price: { $gte: 2 } } });
});

journey(site, 'from an event to a filter, and what it held back is sent after all', { size: phone }, async (v) => {
  const { tenant } = await shop({ orders: 4, filter: 'total:>=40' });
  await v.open(`/t/${tenant}/events/order-3`);
  assert.match(await v.main.getByRole('row').filter({ hasText: 'Big orders' }).innerText(), /Rule 1: data.total is 30, needs at least 40/);
  await v.follow('Create filter from this event');
  await v.sees('The event you came from');
  await control(v, 1, 'Value').fill('30');
  await v.press('Save filter');
  await v.follow('Send what was filtered out before');
  await v.sees('Of 3 events that were filtered out, 1 would pass the filter as it is now, and be sent.');
  await v.press('Send 1 now');
  await v.sees('The event that was filtered out is on its way.');
  await eventually(async () => (await site.api('GET', `/deliveries?tenant_id=${tenant}&event_id=order-3&destination_id=big`)).models[0]?.status === 'delivered', 'the delivery');
  await v.open(`/t/${tenant}/docs/filters`);
  await v.sees('How values are compared');
});

journey(site, 'events are searched by a path, a text and an ID', async (v) => {
  const { tenant } = await shop({ orders: 12 });
  const ids = () => v.main.locator('tbody tr td:nth-child(2) a').evaluateAll((links) => links.map((a) => a.title));
  const search = async (text, options) => {
    await v.field('Text in the payload, an event ID, or a filter').fill(text);
    await v.press('Apply', { exact: true, ...options });
  };
  await v.open(`/t/${tenant}/events?range=24h`);
  await search('customer.email:c3@* OR total:>=110');
  assert.deepEqual(await ids(), ['order-12', 'order-11', 'order-3']);
  await v.sees('Searched 12 events of the last 24 hours.');
  await search('album-7');
  assert.deepEqual(await ids(), ['order-7']);
  await search('order-5');
  assert.deepEqual(await ids(), ['order-5']);
  await search('{"lines": {"sku": {"$startsWith": "album"}, "price": {"$gte": 11}}}');
  assert.deepEqual(await ids(), ['order-12', 'order-11']);
  await search('status:lost');
  await v.sees('No event matches');
  await search('{"status": {"$nope": 1}}', { status: 422 });
  await v.sees('there is no operator');
});
