// Destinations: made, changed, tried, disabled and deleted.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startReceiver, verifies } from '../lib/receiver.mjs';
import { eventually, journey, openSite } from './harness.mjs';

const site = await openSite();
const receiver = await startReceiver();
after(() => receiver.close());

const secretOf = async (tenant, id) => (await site.api('GET', `/tenants/${tenant}/destinations/${id}`)).credentials.secret;

journey(site, 'a webhook destination, with an empty, a bad and a good URL', async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/destinations`);
  await v.sees('No destinations yet');
  await v.follow('Add destination');
  await v.press('Continue', { status: 422 });
  await v.sees('There is a problem');
  await v.main.getByRole('radio', { name: /^Webhook/ }).check();
  assert.match(v.path, /\/destinations\/new/, 'choosing does not lead on');
  await v.press('Continue');

  await v.field('Name').fill('Billing');
  await v.field('Filter').fill('total:>=10');
  await v.press('Create destination', { status: 422 });
  await v.isRefused('config.url', /is required/);
  await v.field('URL').fill('hooks.example.com');
  await v.press('Create destination', { status: 422 });
  await v.isRefused('config.url', /https:\/\//);
  assert.equal(await v.field('URL').inputValue(), 'hooks.example.com');
  assert.equal(await v.field('Name').inputValue(), 'Billing');
  assert.equal(await v.field('Filter').inputValue(), 'total:>=10');

  await v.field('URL').fill(`  "${receiver.url}" `); // as pasted
  await v.press('Create destination');
  await v.sees('The destination was created.');
  assert.equal(await v.heading.textContent(), 'Billing');
  assert.match((await v.main.locator('dl').allTextContents()).join(' '), /total:>=10/);

  // Its secret is for whoever sets up the receiver: shown on demand, and gone when the page is read anew.
  const id = v.path.split('/').at(-1);
  const secret = await secretOf(tenant, id);
  assert.ok(!(await v.page.content()).includes(secret));
  await v.follow('Get its signing secret');
  assert.ok(!(await v.page.content()).includes(secret));
  await v.press('Reveal');
  await v.sees(secret);
  await v.open(v.path.replace('/reveal', ''));
  assert.ok(!(await v.page.content()).includes(secret));
  await v.sees('whsec_••••••');
});

journey(site, 'the type is chosen and the form sent by keyboard', async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/destinations/new`);
  const radios = v.main.getByRole('radio');
  await radios.first().focus();
  await v.page.keyboard.press('Space');
  for (let i = 1; i < await radios.count(); i++) {
    await v.page.keyboard.press('ArrowDown');
    assert.ok(await radios.nth(i).isChecked());
  }
  assert.equal(v.path, `/t/${tenant}/destinations/new`, 'moving among the types does not lead on');
  await radios.and(v.main.locator('[value=webhook]')).focus();
  await v.page.keyboard.press('Space');
  await v.page.keyboard.press('Tab');
  await v.hasFocus(v.button('Continue'));
  await v.arrives(() => v.page.keyboard.press('Enter'));
  await v.field('URL').focus();
  await v.page.keyboard.type(receiver.url);
  const create = v.button('Create destination', { exact: true });
  while (!await create.evaluate((e) => e === document.activeElement)) await v.page.keyboard.press('Tab');
  await v.arrives(() => v.page.keyboard.press('Enter'));
  await v.sees('The destination was created.');
});

journey(site, 'Enter in a field of the form creates the destination', async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/destinations/new?type=webhook`);
  await v.field('URL').fill(receiver.url);
  await v.arrives(() => v.field('URL').press('Enter'));
  assert.equal((await site.api('GET', `/tenants/${tenant}/destinations`)).length, 1);
});

journey(site, 'settings keep a credential that is left blank', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'hook', type: 'webhook', name: 'Before', config: { url: receiver.url }, retry: { max_attempts: 3 } });
  const secret = await secretOf(tenant, 'hook');
  await v.open(`/t/${tenant}/destinations/hook`);
  await v.follow('Settings');
  assert.equal(await v.field('URL').inputValue(), receiver.url);
  assert.equal(await v.main.locator('[name="retry.max_attempts"]').inputValue(), '3');
  const field = v.main.locator('[name="credentials.secret"]');
  assert.equal(await field.inputValue(), '');
  await v.sees('Leave empty to keep it.');
  assert.ok(!(await v.page.content()).includes(secret));
  await v.field('Name').fill('After');
  await v.main.getByRole('radio', { name: 'Only these:' }).check();
  await v.main.getByRole('textbox', { name: 'Topics', exact: true }).fill('order.created\norder.paid');
  await v.press('Save changes');
  assert.equal(await v.heading.textContent(), 'After');
  assert.equal(await secretOf(tenant, 'hook'), secret);

  receiver.requests.length = 0;
  await site.publish(tenant, { topic: 'order.paid' });
  await site.publish(tenant, { topic: 'user.created' });
  assert.deepEqual(receiver.requests.map((r) => r.headers['waybill-topic']), ['order.paid']);
  assert.ok(verifies(receiver.requests[0], secret));

  // A bad credential is refused, and what was typed stays.
  await v.follow('Settings');
  await field.fill('whsec_tooshort');
  await v.press('Save changes', { status: 422 });
  await v.isRefused('credentials.secret', /must/);
  assert.equal(await secretOf(tenant, 'hook'), secret);
});

journey(site, 'two who change the same destination', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox', name: 'Mine' });
  await v.open(`/t/${tenant}/destinations/inbox/settings`);
  await site.api('PATCH', `/tenants/${tenant}/destinations/inbox`, { name: 'Theirs' });
  await v.field('Name').fill('Mine again');
  await v.press('Save changes', { status: 412 });
  await v.sees('Somebody has changed the destination since you opened this form.');
  assert.equal(await v.field('Name').inputValue(), 'Mine again');
  await v.press('Save changes');
  assert.equal(await v.heading.textContent(), 'Mine again');
});

journey(site, 'the times of a retry policy are shown before it is saved', async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/destinations/new?type=webhook`);
  await v.field('URL').fill(receiver.url);
  await v.main.locator('summary', { hasText: 'Delivery settings' }).click();
  await v.field('First delay').fill('1m');
  await v.field('Backoff factor').fill('3');
  await v.main.locator('[name="retry.max_attempts"]').fill('4');
  await v.press('Show the resulting times');
  const rows = await v.main.getByRole('region', { name: 'Retry schedule' }).locator('tbody tr').allInnerTexts();
  assert.deepEqual(rows.map((r) => r.split(/\s*\t\s*/)[1]), ['None', '1 min', '3 min', '9 min']);
  assert.equal(await v.field('URL').inputValue(), receiver.url);
  assert.deepEqual(await site.api('GET', `/tenants/${tenant}/destinations`), []);
  await v.field('First delay').fill('soon');
  await v.press('Create destination', { status: 422 });
  await v.sees('"soon" is not a duration', v.main.getByRole('alert'));
  assert.equal(await v.field('First delay').inputValue(), 'soon');
});

journey(site, 'the secret is revealed and rotated', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'hook', type: 'webhook', config: { url: receiver.url } });
  const before = await secretOf(tenant, 'hook');
  await v.open(`/t/${tenant}/destinations/hook`);
  await v.follow('Secrets');
  await v.press('Reveal');
  await v.sees(before);
  await v.follow('Hide again');
  assert.ok(!(await v.page.content()).includes(before));

  await v.main.getByRole('radio', { name: /^After 24 hours/ }).check();
  await v.press('Rotate secret');
  await v.sees('A new secret is in force. The old one is valid for another 24h');
  await v.sees('The previous secret is valid until');
  await v.press('Reveal');
  const now = await secretOf(tenant, 'hook');
  assert.notEqual(now, before);
  await v.sees(now);
  receiver.requests.length = 0;
  await site.publish(tenant);
  assert.ok(verifies(receiver.requests[0], now) && verifies(receiver.requests[0], before), 'both secrets verify');

  await v.follow('Hide again');
  await v.main.getByRole('radio', { name: /^At once/ }).check();
  await v.press('Rotate secret', { status: 409 });
  await v.main.getByRole('checkbox', { name: /^End the previous secret now/ }).check();
  await v.press('Rotate secret');
  await v.sees('The old one has ended.');
  receiver.requests.length = 0;
  await site.publish(tenant);
  assert.ok(!verifies(receiver.requests[0], now) && !verifies(receiver.requests[0], before), 'the old secrets are over');
  assert.ok(verifies(receiver.requests[0], await secretOf(tenant, 'hook')));
});

journey(site, 'disabled with a reason, held, enabled and delivered', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox', name: 'Inbox' });
  await v.open(`/t/${tenant}/destinations/inbox`);
  await v.follow(/^Disable/);
  await v.main.getByRole('radio', { name: 'Another reason:' }).check();
  await v.press('Disable destination', { status: 422 });
  await v.isRefused('reason', /is required/);
  await v.main.getByRole('textbox', { name: 'Another reason' }).fill('Moving house');
  await v.press('Disable destination');
  await v.sees('The destination is disabled. Its events are held from now on.');
  await v.sees('Disabled by Ann Example');
  await v.sees(/Reason: Moving house/);
  assert.match(await v.main.locator('.banner', { hasText: 'Disabled by' }).textContent(), /on \d+ \w+ \d{4} at \d\d:\d\d UTC/);

  const { id } = await site.publish(tenant);
  await v.open(`/t/${tenant}/destinations/inbox`);
  await v.sees('1 delivery is held.');
  await v.open(`/t/${tenant}/events/${id}`);
  await v.sees('Held');
  await v.open(`/t/${tenant}`);
  await v.sees('1 held');
  await v.follow(/^Enable/);
  await v.sees('What should happen to the 1 held deliveries?');
  await v.main.getByRole('radio', { name: /^Deliver 1 held/ }).check();
  await v.press('Enable destination');
  await v.sees(/^\s*The destination is enabled\./);
  await eventually(async () => (await site.settled(tenant, id))[0].status === 'delivered', 'the delivery');
  await v.open(`/t/${tenant}/events/${id}`);
  await v.sees('Delivered', v.row('Inbox'));
});

journey(site, 'held deliveries are kept or dropped', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox' });
  for (const [choice, flash, status] of [[/^Keep them held/, /enabled\..* stays? held/, 'held'], [/^Drop 2 held/, /enabled\..* dropped/, 'cancelled']]) {
    await site.api('PUT', `/tenants/${tenant}/destinations/inbox/disable`, { reason: 'Maintenance' });
    const { id } = await site.publish(tenant);
    await v.open(`/t/${tenant}/destinations/inbox/enable`);
    await v.main.getByRole('radio', { name: choice }).check();
    await v.press('Enable destination');
    await v.sees(flash);
    await eventually(async () => (await site.settled(tenant, id))[0].status === status, `${id} ${status}`);
  }
});

journey(site, 'the connection check tells the stage that failed', async (v) => {
  const tenant = await site.tenant();
  const closed = await startReceiver();
  await closed.close();
  await site.destination(tenant, { id: 'closed', type: 'webhook', config: { url: closed.url } });
  await site.destination(tenant, { id: 'open', type: 'webhook', config: { url: receiver.url } });
  await v.open(`/t/${tenant}/destinations/closed`);
  await v.press('Check connection');
  await v.sees('Not reachable');
  const failed = v.main.getByRole('list', { name: 'Stages of the check' }).getByRole('listitem').filter({ hasText: 'Failed' });
  assert.match(await failed.textContent(), /Connection.*firewall|Connection.*service/s);
  await v.open(`/t/${tenant}/destinations/open`);
  await v.press('Check connection');
  await v.sees('Reachable');
});

journey(site, 'a destination saved as disabled', async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/destinations/new?type=echo`);
  await v.press('Save as disabled');
  await v.sees('Disabled');
  const [made] = await site.api('GET', `/tenants/${tenant}/destinations`);
  assert.ok(made.disabled_at);
});

journey(site, 'a destination is deleted after a question', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'gone', name: 'Old one' });
  const { id } = await site.publish(tenant);
  await v.open(`/t/${tenant}/destinations/gone`);
  await v.follow(/^Delete destination/);
  await v.sees('Delete the destination Old one?');
  await v.follow('Cancel');
  await v.follow(/^Delete destination/);
  await v.press('Delete destination');
  assert.equal(v.path, `/t/${tenant}/destinations`);
  await v.sees('The destination Old one was deleted.');
  await v.open(`/t/${tenant}/destinations/gone`, { status: 404 });
  await v.open(`/t/${tenant}/events/${id}`);
  await v.sees('Delivered');
});

journey(site, 'the list of destinations is filtered and ordered', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'b-hook', type: 'webhook', name: 'Billing', topics: ['order.paid'], config: { url: receiver.url } });
  await site.destination(tenant, { id: 'a-inbox', name: 'Archive' });
  await site.api('PUT', `/tenants/${tenant}/destinations/a-inbox/disable`, { reason: 'Maintenance' });
  const names = () => v.main.locator('tbody tr td:first-child a').allInnerTexts();
  await v.open(`/t/${tenant}/destinations`);
  assert.deepEqual(await names(), ['Billing', 'Archive']);
  await v.follow('Name');
  assert.deepEqual(await names(), ['Archive', 'Billing']);
  assert.equal(await v.main.getByRole('columnheader', { name: 'Name' }).getAttribute('aria-sort'), 'ascending');

  await v.field('State').selectOption('disabled');
  await v.press('Apply');
  assert.deepEqual(await names(), ['Archive']);
  assert.match(v.path, /state=disabled/);
  assert.match(v.path, /sort=name/);
  await v.field('Type').selectOption('webhook');
  await v.press('Apply');
  await v.sees('No destination matches');
  await v.follow(/Remove filter\s+State: Disabled/);
  assert.deepEqual(await names(), ['Billing']);
  await v.follow('Clear all');
  assert.equal(v.path, `/t/${tenant}/destinations`);
  await v.main.getByRole('searchbox').fill('archi');
  await v.press('Apply');
  assert.deepEqual(await names(), ['Archive']);
});

journey(site, 'a form is not left by mistake', { js: true }, async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/destinations/new?type=webhook`);
  await v.field('Name').fill('Half');
  const asked = v.page.waitForEvent('dialog');
  const clicked = v.link('Cancel').click();
  const dialog = await asked;
  assert.equal(dialog.type(), 'beforeunload');
  await dialog.dismiss();
  await clicked;
  assert.equal(await v.field('Name').inputValue(), 'Half');
  v.page.once('dialog', (d) => d.accept());
  await v.follow('Cancel');
  assert.equal(v.path, `/t/${tenant}/destinations`);
});

journey(site, 'rows of keys and values, and a secret that one can look at', { js: true }, async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/destinations/new?type=webhook`);
  const headers = v.main.getByRole('group', { name: /^Custom headers/ });
  const count = await headers.getByRole('listitem').count();
  await headers.getByRole('button', { name: 'Add a row' }).click();
  assert.equal(await headers.getByRole('listitem').count(), count + 1);
  await headers.getByRole('textbox', { name: `Key ${count + 1}`, exact: true }).fill('X-Team');
  await headers.getByRole('textbox', { name: `Value ${count + 1}`, exact: true }).fill('billing');
  await v.check();
  const secret = v.main.locator('[name="credentials.secret"]');
  assert.equal(await secret.getAttribute('type'), 'password');
  const show = v.button('Show Signing secret');
  await show.click();
  assert.equal(await secret.getAttribute('type'), 'text');
  assert.equal(await show.getAttribute('aria-pressed'), 'true');
  await show.click();
  await v.field('URL').fill(receiver.url);
  await v.press('Create and send test event');
  receiver.requests.length = 0;
  await v.press('Send test event');
  await v.sees('Succeeded');
  assert.equal(receiver.requests[0].headers['x-team'], 'billing');
});
