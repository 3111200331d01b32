// A list that one never leaves: the inspector beside it, what arrives meanwhile, the time that a histogram chooses, saved views,
// exports, several events at once; and what the overview leads to.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { eventually, journey, openSite } from './harness.mjs';

const site = await openSite();

// shop makes a tenant with one destination that works and one that fails, and so many events.
async function shop(events = 3) {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'good', name: 'Good' });
  await site.destination(tenant, { id: 'bad', name: 'Legacy CRM', topics: ['order.failed'], config: { answer: '500' } });
  const ids = [];
  for (let i = 0; i < events; i++) {
    const { id } = await site.publish(tenant, { topic: i === 0 ? 'order.failed' : 'order.created', data: { number: 4100 + i, customer: 'ann' } });
    await site.settled(tenant, id);
    ids.unshift(id);
  }
  return { tenant, ids, list: `/t/${tenant}/events` };
}

const beside = (v) => v.page.locator('#inspect');
const shown = (v, id) => beside(v).getByRole('heading', { level: 2 }).and(v.page.locator(`[title="${id}"]`)).waitFor();

journey(site, 'an event is looked at beside the list', async (v, { js }) => {
  const { ids, list } = await shop();
  await v.open(list);
  const failing = v.row('Legacy CRM');
  assert.match(await failing.innerText(), /1 of 2 failed[\s\S]*Legacy CRM: 500/, 'the row names who failed, and why');
  if (js) {
    await failing.click();
    await shown(v, ids[2]);
    await v.page.waitForURL(`**${list}?event=${ids[2]}`);
  } else await v.open(`${list}?event=${ids[2]}`);
  await v.sees(/^Destinations: /, beside(v));
  await v.sees('The receiver', beside(v));
  await v.sees('Request', beside(v));
  assert.match(await beside(v).locator('#inspect-request-body').innerText(), /"number": 4100/);
  if (js) {
    await beside(v).getByRole('link', { name: /Good/ }).click();
    await eventually(async () => /200/.test(await beside(v).locator('.tries').innerText()), 'the other destination');
    await v.page.reload();
    await shown(v, ids[2]);
    await beside(v).getByRole('link', { name: 'Close' }).click();
    assert.ok(!await beside(v).isVisible());
    assert.equal(v.path, list);
    await failing.click();
    await shown(v, ids[2]);
  }
  await v.arrives(() => beside(v).getByRole('button', { name: 'Retry failed' }).click());
  await v.sees(/^\s*Retry queued/);
  assert.equal(v.path.split('?')[0], list, 'the list is not left');
});

journey(site, 'events by keyboard alone', { js: true }, async (v) => {
  const { ids, list, tenant } = await shop();
  const { keyboard } = v.page;
  await v.open(list);
  for (const [key, id] of [['j', ids[0]], ['j', ids[1]], ['j', ids[2]], ['k', ids[1]]]) {
    await keyboard.press(key);
    await shown(v, id);
    assert.ok(v.path.endsWith(`event=${id}`));
  }
  await keyboard.press('x');
  await v.sees('1 selected');
  await keyboard.press('Escape');
  assert.ok(!await beside(v).isVisible());
  await v.page.evaluate(() => document.activeElement.blur());
  await v.arrives(() => keyboard.press('Enter'));
  assert.equal(v.path, `/t/${tenant}/events/${ids[1]}`);
  await v.page.goBack();
  await keyboard.press('?');
  await v.page.getByRole('dialog', { name: 'Keys' }).waitFor();
  await keyboard.press('Escape');
  await v.arrives(async () => { await keyboard.press('g'); await keyboard.press('d'); });
  assert.equal(v.path, `/t/${tenant}/destinations`);
  await keyboard.press('Control+k');
  const box = v.page.getByRole('combobox', { name: 'Name, ID or text' });
  await box.fill('legacy');
  await v.page.getByRole('option', { name: /Legacy CRM/ }).first().waitFor();
  await v.arrives(() => box.press('Enter'));
  assert.equal(v.path, `/t/${tenant}/destinations/bad`);
});

journey(site, 'new events are told, and come on top when somebody follows', { js: true }, async (v) => {
  const { ids, list, tenant } = await shop(1);
  await v.open(list);
  const rows = () => v.main.locator('table[data-rows] tbody tr');
  await v.page.mouse.move(2, 2);
  // The stream begins with the page; what comes before it stands is in the list already after a reload.
  let first;
  await eventually(async () => {
    first = await site.publish(tenant, { topic: 'order.created' });
    return v.main.locator('[data-fresh]').isVisible();
  }, 'the word of a new event');
  assert.match(await v.main.locator('[data-fresh]').innerText(), /^\d+ new events?$/);
  assert.equal(await rows().count(), 1, 'no row moves by itself');
  await v.arrives(() => v.main.locator('[data-fresh]').click());
  assert.equal(await rows().first().getAttribute('id'), `row-${first.id}`);
  const follow = v.button('Follow');
  await follow.click();
  assert.equal(await follow.getAttribute('aria-pressed'), 'true');
  await v.page.mouse.move(2, 2);
  await v.page.evaluate(() => document.activeElement.blur());
  let last;
  await eventually(async () => {
    last = await site.publish(tenant, { topic: 'order.created' });
    return v.page.locator(`#row-${last.id}`).waitFor({ timeout: 4_000 }).then(() => true, () => false);
  }, 'the row of a new event');
  assert.ok(await v.page.locator(`#row-${ids[0]}`).count() === 1, 'the others stay');
});

journey(site, 'a time is chosen on the histogram', { js: true }, async (v) => {
  const { ids, list } = await shop();
  await v.open(`${list}?range=24h`);
  const chart = v.main.locator('[data-brush] svg[role=group]');
  await chart.locator('a.bar[tabindex="0"]').focus();
  await v.page.keyboard.press('Shift+ArrowLeft');
  await v.page.keyboard.press('Shift+ArrowLeft');
  await v.arrives(() => v.page.keyboard.press('Enter'));
  assert.match(v.path, /since=.*until=/);
  const times = new URL(v.page.url()).searchParams;
  const minutes = (Date.parse(times.get('until')) - Date.parse(times.get('since'))) / 60_000;
  assert.ok(minutes >= 72 && minutes < 72.1, `three of sixty bars: ${minutes}`); // whole seconds
  assert.equal(await v.main.locator('table[data-rows] tbody tr').count(), ids.length);
  await v.open(`${list}?range=24h`);
  const at = await chart.boundingBox();
  await v.page.mouse.move(at.x + at.width * 0.25, at.y + 20);
  await v.page.mouse.down();
  await v.page.mouse.move(at.x + at.width * 0.5, at.y + 20);
  await v.arrives(() => v.page.mouse.up());
  await v.sees('No event matches');
  await v.follow(/From: 2/);
});

journey(site, 'a view is saved, counted, shared and deleted', async (v, { js }) => {
  const { list, tenant } = await shop();
  await v.open(`${list}?topic=order.created`);
  await v.main.locator('summary', { hasText: 'Save view' }).click();
  await v.main.getByLabel('Name', { exact: true }).fill('Orders');
  await v.press('Save');
  await v.sees('The view “Orders” is saved.');
  const other = await site.visitor({ js });
  await other.open(list);
  if (js) await eventually(async () => /Orders\s*2/.test(await other.link(/^Orders/).innerText()), 'the count of the view');
  await other.follow(/^Orders/);
  assert.equal(other.path, `${list}?topic=order.created`);
  assert.equal(await other.main.locator('table[data-rows] tbody tr').count(), 2);
  await other.context.close();
  await v.open(`${list}?topic=order.created`);
  await v.press(/^Delete view/);
  await v.sees('The view is deleted. Its events stay.');
  assert.deepEqual((await site.api('GET', `/views?tenant_id=${tenant}`)).models, []);
});

journey(site, 'what is shown is exported', { js: true }, async (v) => {
  const { ids, list } = await shop();
  await v.open(`${list}?topic=order.created`);
  const save = async (format) => {
    await v.main.locator('summary', { hasText: 'Export' }).click();
    const [file] = await Promise.all([v.page.waitForEvent('download'), v.link(format).click()]);
    await v.page.keyboard.press('Escape');
    return readFile(await file.path(), 'utf8');
  };
  const lines = (await save('JSON lines')).trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(lines.map((e) => e.id).sort(), ids.slice(0, 2).sort());
  const table = (await save('CSV')).trim().split('\n');
  assert.equal(table.length, 3, 'a head and two rows');
  assert.ok(table[0].includes('topic') && table[1].includes('order.created'));
});

journey(site, 'several events are chosen from one to another, and what waits of them is cancelled', { js: true }, async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'slow', config: { answer: '500' }, retry: { schedule: ['1h'] } });
  const ids = [];
  for (let i = 0; i < 4; i++) ids.unshift((await site.publish(tenant)).id);
  await eventually(async () => (await site.api('GET', `/deliveries?tenant_id=${tenant}&status=retrying`)).models.length === 4, 'the first attempts');
  await v.open(`/t/${tenant}/events`);
  const boxes = v.main.locator('table[data-rows] tbody input[type=checkbox]');
  const all = v.main.locator('table[data-rows] thead input[type=checkbox]');
  await all.check();
  await v.sees('4 selected');
  await all.uncheck();
  await boxes.nth(0).click();
  await boxes.nth(2).click({ modifiers: ['Shift'] });
  await v.sees('3 selected');
  await v.press(/^Cancel/);
  await v.sees('Cancelled: 3.');
  assert.equal((await site.api('GET', `/deliveries?tenant_id=${tenant}&status=cancelled`)).models.length, 3);
});

journey(site, 'several destinations are disabled by a plan, and enabled again from the result', async (v, { js }) => {
  const tenant = await site.tenant();
  for (const id of ['one', 'two', 'three']) await site.destination(tenant, { id, name: `Number ${id}` });
  await v.open(`/t/${tenant}/destinations`);
  const boxes = v.main.locator('tbody input[type=checkbox]');
  if (js) {
    await boxes.nth(0).click();
    await boxes.nth(2).click({ modifiers: ['Shift'] });
    await v.sees('3 selected');
    await v.main.getByRole('checkbox', { name: 'Select Number three' }).uncheck();
    await v.sees('2 selected');
  } else {
    await v.main.getByRole('checkbox', { name: 'Select Number one' }).check();
    await v.main.getByRole('checkbox', { name: 'Select Number two' }).check();
  }
  await v.press('Disable selected');
  await v.sees('2 destinations will be disabled. Deliveries waiting for a retry, which are held when they are due: 0.');
  await v.main.getByRole('radio', { name: 'Maintenance' }).check();
  await v.press('Disable 2 destinations');
  await v.sees('Disabled: 2. New events are held.');
  await site.publish(tenant);
  await v.follow('Enable 2');
  await v.sees('2 destinations will be enabled. Held deliveries: 2.');
  await v.main.getByRole('radio', { name: 'Deliver 2 held' }).check();
  await v.press('Enable 2 destinations');
  await v.sees('Enabled: 2. New events are delivered.');
  await eventually(async () => (await site.api('GET', `/deliveries?tenant_id=${tenant}&status=delivered`)).models.length === 3, 'the held deliveries');
});

journey(site, 'an incident says what to do, and the chart its figures', async (v, { js }) => {
  const { tenant } = await shop(2);
  await eventually(async () => (await site.api('GET', `/incidents?tenant_id=${tenant}`)).total === 1, 'the incident');
  await v.open(`/t/${tenant}`);
  const incidents = v.main.getByRole('region', { name: 'Needs attention' });
  assert.match(await incidents.innerText(), /Failing[\s\S]*Legacy CRM/);
  const bars = v.main.locator('svg[role=group] a.bar');
  if (js) {
    await bars.last().hover({ force: true });
    await eventually(async () => /1 failed|Failed 1/i.test(await v.main.locator('[data-chart-say]').first().innerText()), 'the figures of the bar');
  }
  await v.main.locator('summary', { hasText: 'Show as table' }).click();
  assert.match(await v.main.getByRole('region', { name: /as a table$/ }).locator('tbody tr').last().innerText(), /1\s*$/);
  await v.follow(/Legacy CRM/, { within: incidents });
  assert.equal(v.path.split('?')[0], `/t/${tenant}/destinations/bad`);
});
