// Alerts: a channel, a rule, what it finds, and what somebody does about it.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startMailbox } from '../lib/mailbox.mjs';
import { startReceiver } from '../lib/receiver.mjs';
import { eventually, journey, openSite } from './harness.mjs';

const mailbox = await startMailbox();
after(() => mailbox.close());
const site = await openSite({ env: { RETRY_SCHEDULE: '1ms', SMTP_URL: mailbox.url, MAIL_FROM: 'alerts@example.com' } });
const pager = await startReceiver();
after(() => pager.close());

// dead makes a tenant with a destination that fails, and fails it n times.
async function dead(n) {
  const tenant = await site.tenant();
  await site.api('POST', `/tenants/${tenant}/destinations`, { id: 'dead', name: 'Dead end', type: 'echo', topics: '*', config: { answer: '500' } });
  for (let i = 0; i < n; i++) await site.api('POST', '/publish', { tenant_id: tenant, topic: 'order.created', data: { n: i } });
  await eventually(async () => (await site.api('GET', `/tenants/${tenant}/destinations/dead`)).status.failures_in_a_row === n, 'the failures are counted');
  return tenant;
}

journey(site, 'a channel is made and tested', async (v) => {
  const tenant = await site.tenant();
  await v.open(`/t/${tenant}/alerts`);
  await v.sees('No open alert');
  await v.follow('Channels');
  await v.sees('No alert channel');
  await v.follow('Add channel');
  await v.press('Continue', { status: 422 });
  await v.sees('There is a problem');
  await v.main.getByRole('radio', { name: /^Webhook/ }).check();
  await v.press('Continue');
  await v.press('Create channel', { status: 422, exact: true });
  await v.isRefused('config.url', /is required/);
  await v.field('Name').fill('On call');
  await v.field('URL').fill(pager.url);
  await v.press('Create channel', { exact: true });
  await v.sees('Its receiver verifies signatures with this secret');
  const secret = await v.page.locator('#signing-secret').textContent();
  assert.match(secret, /^whsec_/);
  await v.press('Send test notification');
  await v.sees('What the other side said');
  assert.equal((await v.fact('Code').textContent()).trim(), '200');
  await v.follow('All channels');
  assert.ok(!(await v.page.content()).includes(secret));
  await v.follow('Sent');
  await v.sees('This is a test from Waybill');
});

journey(site, 'a rule is refused, previewed and saved, and finds what fails', async (v) => {
  const tenant = await dead(4);
  await v.open(`/t/${tenant}/alerts/rules`);
  await v.sees('50, 70, 90, 100 %');
  await v.follow('Add rule');
  await v.field('How many in a row').fill('many');
  await v.press('Create rule', { status: 422 });
  await v.sees('There is a problem');
  await v.field('How many in a row').fill('3');
  await v.field('Name').fill('Three');
  await v.press('Preview');
  await v.sees('In the last 7 days this would have fired once:');
  await v.press('Create rule');
  await v.sees('The rule is in force.');
  await v.sees('When 3 deliveries in a row failed');
  await eventually(async () => (await site.api('GET', `/tenants/${tenant}/alerts`)).models.length === 1, 'the alert');
  await v.open(`/t/${tenant}`);
  await v.sees('Needs attention');
  await v.open(`/t/${tenant}/destinations/dead`);
  await v.sees(/4 deliveries in a row have failed/);
  await v.open(`/t/${tenant}/alerts`);
  await v.sees('1 open', v.page.getByRole('navigation', { name: 'Main' }));
  await v.follow(/4 deliveries in a row have failed/);
  await v.field('Message').fill('calling them');
  await v.press('Acknowledge');
  await v.sees('Acknowledged: you take care of it');
  await v.sees('calling them');
  await v.field('Mute for').selectOption('24h');
  await v.press('Mute');
  await v.sees('Notices about this alert are held back for 24h.');
  await v.press('End the mute');
  await v.sees('Notices about this alert are sent again.');
  assert.equal(await v.page.getByRole('navigation', { name: 'Main' }).getByText('open').count(), 0);
});

journey(site, 'an alert is resolved by hand', async (v) => {
  const tenant = await dead(4);
  await site.api('POST', `/tenants/${tenant}/alert-rules`, { name: 'Three', when: { consecutive_failures: 3 } });
  await eventually(async () => (await site.api('GET', `/tenants/${tenant}/alerts`)).models.length === 1, 'the alert');
  await v.open(`/t/${tenant}/alerts`);
  await v.follow(/4 deliveries in a row have failed/);
  await v.field('Message').fill('x'.repeat(501));
  await v.press('Resolve', { status: 422 });
  await v.isRefused('message', /at most 500/);
  await v.field('Message').fill('the receiver is being rebuilt');
  await v.press('Resolve');
  await v.sees('No other alert begins in its place');
  await v.sees('Resolved by Ann Example: the receiver is being rebuilt.');
  assert.equal(await v.main.getByRole('button', { name: 'Resolve' }).count(), 0);
});

journey(site, 'somebody unsubscribes, and is subscribed again', async (v, { js }) => {
  const tenant = await site.tenant();
  const address = js ? 'ann@example.com' : 'bob@example.com';
  const channel = await site.api('POST', `/tenants/${tenant}/channels`, { name: 'On call', type: 'email', config: { to: address } });
  await site.api('POST', `/tenants/${tenant}/channels/${channel.id}/test`);
  const stranger = await site.visitor({ js, loggedIn: false });
  await stranger.open(mailbox.unsubscribeLink(address));
  await stranger.sees('will get no more notices of the channel');
  await stranger.press('Unsubscribe');
  await stranger.sees('You have unsubscribed');
  stranger.assertQuiet();
  await stranger.context.close();
  await v.open(`/t/${tenant}/alerts/channels`);
  await v.sees('1 unsubscribed');
  await v.follow('On call');
  await v.press('Send test notification');
  await v.sees('Everybody whom the channel names has unsubscribed');
  await v.follow('Change the channel');
  await v.press(/^Subscribe again/);
  await v.sees(`${address} gets the channel's notices again.`);
});

journey(site, 'the pages of the operators', { js: true }, async (v) => {
  await v.open('/alerts');
  await v.sees('For the operators of this server');
  await v.follow('Rules');
  await v.follow('Add rule');
  await v.main.getByRole('radio', { name: 'Only these destinations:' }).check();
  await v.press('Create rule', { status: 422 });
  await v.isRefused('destination_ids', /must name at least one destination/);
});

journey(site, 'on a phone', { js: true, size: { width: 390, height: 844 } }, async (v) => {
  const tenant = await dead(3);
  for (const page of ['', '/rules', '/rules/new', '/channels', '/channels/new', '/channels/new?type=slack', '/notifications']) await v.open(`/t/${tenant}/alerts${page}`);
  await v.open(`/t/${tenant}/destinations/dead`);
});
