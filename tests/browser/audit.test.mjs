// The audit log: what was changed is found, read and exported, by operators and by a tenant's own people.
import assert from 'node:assert/strict';
import { journey, openSite, phone } from './harness.mjs';

const site = await openSite();

// changed makes a tenant with a destination whose settings were changed, secret ones too.
async function changed() {
  const tenant = await site.tenant();
  await site.api('POST', `/tenants/${tenant}/destinations`, { id: 'hook', name: 'Billing', type: 'webhook', topics: '*', config: { url: 'https://example.com/a', custom_headers: { 'X-Token': 'planted-first' } } });
  await site.api('PATCH', `/tenants/${tenant}/destinations/hook`, { topics: ['order.paid'], filter: { total: { $gte: 10 } }, config: { custom_headers: { 'X-Token': 'planted-second' } } });
  return tenant;
}

journey(site, 'what was changed is found, with what was before and after', async (v) => {
  const tenant = await changed();
  await v.open(`/t/${tenant}`);
  await v.arrives(() => v.link('Audit log', { within: v.page.getByRole('navigation', { name: 'Main' }) }).click());
  await v.sees('3 entries shown. Entries are kept for good.');
  await v.field('Action').selectOption({ label: 'Destination changed' });
  await v.press('Apply', { exact: true });
  await v.sees('Action: Destination changed');
  await v.sees('1 entry shown');
  await v.follow('Destination changed', { exact: true, within: v.main.getByRole('table') });
  assert.match(await v.row('config.custom_headers.X-Token').innerText(), /••••••.*••••••/);
  assert.match(await v.row('topics').innerText(), /\*\s+order\.paid/);
  assert.match(await v.row('filter').innerText(), /Not set\s+\{"total":\{"\$gte":10\}\}/);
  assert.ok(!(await v.page.content()).includes('planted'));
  assert.equal((await v.fact('Actor').textContent()).trim(), 'API_KEY');
  await v.follow('All entries about this object');
  await v.sees('Object: hook');
  await v.sees('2 entries shown');
  await v.follow(/Object: hook/);
  await v.sees('3 entries shown');
});

journey(site, 'a person disables a destination, and its activity says so', async (v) => {
  const tenant = await changed();
  await v.open(`/t/${tenant}/destinations/hook/disable`);
  await v.main.getByRole('radio', { name: 'Maintenance' }).check();
  await v.press('Disable destination');
  await v.follow('Activity', { within: v.main.getByRole('navigation', { name: 'Pages of this destination' }) });
  await v.sees(/Destination disabled/);
  await v.sees('by Ann Example');
  await v.sees('Maintenance');
  await v.follow('Destination disabled');
  assert.equal((await v.fact('Kind of actor').textContent()).trim(), 'Person');
  assert.match(await v.fact('Source IP').textContent(), /127\.0\.0\.1|::1/);
  await v.arrives(() => v.link('Ann Example').click());
  await v.sees('Actor: Ann Example');
});

journey(site, 'filters that match nothing, and a time that is none', async (v) => {
  const tenant = await changed();
  await v.open(`/t/${tenant}/audit?q=nothing+like+it`);
  await v.sees('No entry matches');
  await v.follow('Clear all filters');
  await v.main.getByText('More filters').click();
  await v.field('From').fill('yesterday');
  await v.press('Apply filters', { status: 422 });
  await v.sees(/From must be a time like/);
  await v.follow('Show the list without filters');
  await v.sees('3 entries shown');
});

journey(site, 'the log is exported as it is shown', { js: true }, async (v) => {
  const tenant = await changed();
  await v.open(`/t/${tenant}/audit?action=destination.update`);
  const download = v.page.waitForEvent('download');
  await v.link('Export CSV').click();
  const file = await download;
  assert.match(file.suggestedFilename(), /^audit-.*\.csv$/);
  const chunks = [];
  for await (const chunk of await file.createReadStream()) chunks.push(chunk);
  const lines = Buffer.concat(chunks).toString().trim().split('\r\n');
  assert.equal(lines.length, 2);
  assert.match(lines[1], /,destination\.update,hook,ok,/);
});

journey(site, 'the whole server, for operators', async (v) => {
  const tenant = await changed();
  await site.visitor({ loggedIn: false, js: false }).then(async (stranger) => {
    await stranger.open('/login');
    await stranger.field('Email').fill('nobody@example.com');
    await stranger.field('Password').fill('wrong');
    await stranger.press('Log in', { status: 422 });
    await stranger.context.close();
  });
  await v.open('/audit');
  await v.sees(tenant);
  await v.follow('Failed', { exact: true, within: v.main.getByRole('navigation', { name: 'Quick views' }) });
  const table = v.main.getByRole('table');
  await v.sees('nobody@example.com', table);
  await v.sees('Not logged in', table);
  await v.sees('Email or password is not right.');
  await v.follow('Login', { exact: true, within: table });
  await v.sees('Why not');
});

journey(site, 'a portal visitor sees their own tenant only', { loggedIn: false }, async (v) => {
  const [mine, other] = [await changed(), await changed()];
  const { redirect_url: link } = await site.api('GET', `/tenants/${mine}/portal`);
  await v.open(new URL(link).pathname);
  await v.press('Open dashboard');
  await v.open(`/t/${mine}/audit`);
  await v.sees('Portal opened', v.main.getByRole('table'));
  assert.ok(!(await v.page.content()).includes(other));
  await v.open(`/t/${other}/audit`, { status: 404 });
  await v.open('/audit', { status: 403 });
});

journey(site, 'on a phone', { js: true, size: phone }, async (v) => {
  const tenant = await changed();
  const { models: [entry] } = await site.api('GET', `/audit?tenant_id=${tenant}&action=destination.update`);
  for (const page of [`/t/${tenant}/audit`, `/t/${tenant}/audit/${entry.id}`, `/t/${tenant}/destinations/hook/activity`, '/audit', `/audit/${entry.id}`]) await v.open(page);
});
