// Tenants in several databases: the page of cells, moving a tenant, and what pages say when a cell is away.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { eventually, journey, openSite, phone } from './harness.mjs';
import { startCell } from '../lib/cell.mjs';

// The cell is taken away at the end, which the server's log tells as errors.
const [site, cell] = await Promise.all([openSite({ errors: true }), startCell()]);
after(() => cell.stop());

journey(site, 'nothing of cells is shown where there are none', { js: true }, async (v) => {
  const { tenant } = await shop();
  await v.open('/server');
  assert.equal(await v.page.getByRole('link', { name: 'Cells' }).count(), 0);
  await v.open(`/t/${tenant}/settings`);
  assert.equal(await v.page.getByRole('link', { name: 'Move to another cell' }).count(), 0);
  await v.open('/server/cells'); // by its address
  await v.sees('All tenants are in one database');
  await v.sees('waybill cells add');
});

let made;
const shop = () => (made ??= (async () => {
  const tenant = await site.tenant('shop');
  await site.destination(tenant);
  await site.publish(tenant);
  return { tenant };
})());

let added;
const withCell = () => (added ??= (async () => {
  await shop();
  site.run(['cells', 'add', 'eu1', '-'], `${cell.address}\n`);
  const cells = () => site.api('GET', '/cells');
  await eventually(async () => (await cells()).models.find((c) => c.name === 'eu1')?.reachable, 'the cell to be served');
})());

for (const size of [undefined, phone]) {
  journey(site, `an operator drains a cell${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    await withCell();
    await v.open('/server');
    await v.main.locator('#cells').getByText('eu1').first().waitFor();
    await v.follow('Cells', { within: v.page.getByRole('navigation', { name: 'Server' }) });
    assert.equal(v.path, '/server/cells');
    const row = v.row('eu1', v.main.locator('#now'));
    assert.match(await row.innerText(), /Answers/);
    assert.doesNotMatch(await v.main.innerText(), /:(?!\*{3}@)[^@/\s]+@127/, 'the address is shown with its password');
    await v.press('Drain eu1');
    await v.sees('New tenants go to other cells.');
    assert.match(await row.innerText(), /Drained[\s\S]*Go elsewhere since/);
    await v.press('Undrain eu1');
    assert.match(await row.innerText(), /Answers/);
  });
}

for (const size of [undefined, phone]) {
  journey(site, `an operator moves a tenant there and back${size ? ', on a phone' : ''}`, size ? { size, js: true } : { js: true }, async (v) => {
    await withCell();
    const { tenant } = await shop();
    for (const to of ['eu1', 'main']) {
      await v.open(`/t/${tenant}/settings`);
      await v.follow('Move to another cell');
      await v.sees(tenant);
      await v.field('To the cell').selectOption(to);
      await v.press('Move tenant');
      await v.sees('The move has started.');
      await v.sees('The tenant is there, and nothing is left behind.'); // the page follows by itself
      const { models: [move] } = await site.api('GET', `/moves?tenant_id=${tenant}`);
      assert.equal(`${move.to} ${move.status}`, `${to} done`);
      await site.publish(tenant);
    }
    await v.open('/server/moves');
    assert.ok(await v.row(tenant).count() >= 2);
  });
}

let far = 0;
for (const size of [undefined, phone]) {
  journey(site, `an operator is told of a tenant in a cell${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    await withCell();
    const tenant = `far-${++far}`;
    await site.api('PUT', `/tenants/${tenant}`, { cell: 'eu1' });
    await site.api('POST', '/alert-rules', { name: `Two in a row at ${tenant}`, when: { consecutive_failures: 2 }, topics: [tenant] });
    await site.api('POST', `/tenants/${tenant}/destinations`, { id: 'dead', name: 'Dead end', type: 'echo', topics: [tenant], config: { answer: '500' } });
    for (let i = 0; i < 2; i++) await site.api('POST', '/publish', { tenant_id: tenant, topic: tenant, data: { i } });
    await eventually(async () => (await site.api('GET', '/alerts')).models.some((a) => a.tenant_id === tenant), 'the alert');
    await v.open('/alerts');
    await v.row('Dead end', v.main).filter({ hasText: tenant }).getByRole('link', { name: /2 deliveries in a row have failed/ }).click();
    await v.sees('2 deliveries in a row have failed');
    await v.press('Resolve');
    await v.sees('No other alert begins in its place');
    await v.open('/alerts');
    assert.equal(await v.row('Dead end', v.main).filter({ hasText: tenant }).count(), 0, 'it is among the open alerts');
    await v.open('/alerts/notifications');
    await v.open('/alerts/channels');
  });
}

for (const size of [undefined, phone]) {
  journey(site, `pages say which cell does not answer${size ? ', on a phone' : ''}`, size ? { size, js: true } : { js: true }, async (v) => {
    await withCell();
    await cell.stop();
    await eventually(async () => (await site.api('GET', '/cells')).models.find((c) => c.name === 'eu1').reachable === false, 'the cell to be away');
    for (const path of ['/tenants', '/events', '/alerts']) {
      await v.open(path);
      assert.match(await v.banner.first().innerText(), /do not answer: eu1/);
    }
    await v.open('/server/cells');
    assert.match(await v.row('eu1', v.main.locator('#now')).innerText(), /Away/);
    await v.open('/server');
    await v.sees('The cell eu1 does not answer: its tenants get 503.');
  });
}
