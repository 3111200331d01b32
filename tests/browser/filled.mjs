// A site with data as one might have, and its pages: what is photographed, and looked at for accessibility.
import { startReceiver } from '../lib/receiver.mjs';
import { eventually } from '../lib/server.mjs';

// settings are those of the server that is filled.
export const settings = { RETRY_SCHEDULE: '1s,5m', TOPICS: 'order.created,order.paid,order.refunded,customer.created' };

// fill gives a server its data. It returns the addresses of its pages by name; login is for those who have not logged in.
export async function fill(server) {
  const { api } = server;
  const tenant = 'acme';
  const t = `/t/${tenant}`;
  const [good, bad] = await Promise.all([startReceiver(), startReceiver()]);

  // A shop with four destinations: one is fine, one fails, one takes large orders only, one is disabled.
  await api('PUT', `/tenants/${tenant}`, {});
  await api('PUT', '/tenants/globex', {});
  bad.answers(500, '{"error": "connection to the ledger was lost"}', { 'content-type': 'application/json' });
  const destinations = [
    { id: 'billing', type: 'webhook', name: 'Billing', topics: ['order.paid', 'order.refunded'], config: { url: bad.url.replace('hook', 'webhooks/billing') }, retry: { schedule: ['1ms'] } },
    { id: 'warehouse', type: 'webhook', name: 'Warehouse', topics: ['order.created', 'order.paid'], config: { url: good.url.replace('hook', 'webhooks/warehouse') } },
    { id: 'large-orders', name: 'Large orders', filter: { total: { $gte: 100 } } },
    { id: 'crm', name: 'CRM import', topics: ['customer.created'] },
  ];
  for (const d of destinations) await server.destination(tenant, d);
  await api('PUT', `/tenants/${tenant}/destinations/crm/disable`, { reason: 'Maintenance until Monday' });

  const names = [['ann', 'Ann Lee'], ['bo', 'Bo Park'], ['cy', 'Cy Moore'], ['di', 'Di Roth']];
  for (let i = 0; i < 36; i++) {
    const [key, name] = names[i % names.length];
    const topic = ['order.created', 'order.created', 'order.created', 'customer.created', 'order.created', 'order.created', i % 12 === 6 ? 'order.paid' : 'order.created'][i % 7];
    const data = topic === 'customer.created'
      ? { id: 4100 + i, name, email: `${key}@example.com` }
      : { order: 10_230 + i, total: 18.5 + ((i * 37) % 160), currency: 'EUR', customer: { name, email: `${key}@example.com` }, lines: [{ sku: 'album-a', quantity: 1 + (i % 3), price: '29.99' }, { sku: 'poster', quantity: 1, price: '4.50' }] };
    await api('POST', '/publish', { tenant_id: tenant, topic, data, metadata: { source: 'shop' } }, { prefer: 'wait=10' });
  }
  const { id: failed } = await api('POST', '/publish', {
    tenant_id: tenant, topic: 'order.paid', metadata: { source: 'shop' },
    data: { order: 10_266, total: 64.48, currency: 'EUR', customer: { name: 'Ann Lee', email: 'ann@example.com' }, lines: [{ sku: 'album-a', quantity: 2, price: '29.99' }, { sku: 'poster', quantity: 1, price: '4.50' }] },
  });
  await eventually(async () => {
    const { models } = await api('GET', `/deliveries?tenant_id=${tenant}&event_id=${failed}&destination_id=billing`);
    return models[0]?.status === 'failed';
  }, 'the failed delivery');
  const { models: [attempt] } = await api('GET', `/attempts?tenant_id=${tenant}&event_id=${failed}&destination_id=billing`);

  await api('PATCH', `/tenants/${tenant}/destinations/large-orders`, { topics: ['order.paid'], filter: { total: { $gte: 250 }, currency: 'EUR' }, timeout: '5s' });
  await api('PATCH', `/tenants/${tenant}/destinations/billing`, { config: { custom_headers: { Authorization: 'Bearer 0123456789abcdef' } } });
  const { models: [changed] } = await api('GET', `/audit?tenant_id=${tenant}&action=destination.update&object=large-orders`);
  const retry = await api('POST', '/retries', { tenant_id: tenant, filter: { status: ['delivered', 'failed'], destination_id: ['warehouse', 'billing'] } });
  await eventually(async () => (await api('GET', `/retries/${retry.id}`)).status === 'done', 'the end of the bulk retry');
  const alert = await eventually(async () => (await api('GET', `/tenants/${tenant}/alerts`)).models[0], 'an alert');

  const { models: [last] } = await api('GET', `/attempts?tenant_id=${tenant}&status=success&destination_id=warehouse`);
  const key = await api('POST', '/api-keys', { name: 'Shop', scopes: ['publish'], tenant_id: tenant });
  await api('POST', '/api-keys', { name: 'Nightly import', scopes: ['publish', 'read'], expires_in: '100h', addresses: ['192.0.2.0/24', '2001:db8::/32'], events_per_second: 500 });
  const channel = await api('POST', `/tenants/${tenant}/channels`, { type: 'webhook', name: 'On call', config: { url: good.url } });
  const rule = await api('POST', `/tenants/${tenant}/alert-rules`, { name: 'Ten in a row', when: { consecutive_failures: 10 }, channels: [channel.id] });
  const invited = await api('POST', '/invitations', { email: 'bo@example.com', role: 'developer' });
  await fetch(invited.url, { method: 'POST', body: new URLSearchParams({ name: 'Bo Park', password: 'another long sentence' }), redirect: 'manual' });
  const user = (await api('GET', '/users')).models.find((u) => u.email === 'bo@example.com').id;
  await api('PUT', `/tenants/${tenant}/members/${user}`, { role: 'admin' });
  await api('POST', '/invitations', { email: 'cy@example.com', role: 'viewer', tenant_id: tenant });
  const invitation = await api('POST', '/invitations', { email: 'di@example.com', role: 'developer' });
  const { models: [{ id: erasedEvent }] } = await api('GET', `/events?tenant_id=${tenant}&topic=customer.created&limit=1`);
  const erasure = await api('POST', '/erasures', { event_id: erasedEvent, why: 'Asked for by the customer' });
  await eventually(async () => (await api('GET', `/erasures/${erasure.id}`)).erased === 1, 'the erasure');
  const { models: [filtered] } = await api('GET', `/deliveries?tenant_id=${tenant}&status=filtered_out`);

  return {
    overview: t,
    'events-inspector': `${t}/events?event=${failed}`,
    destinations: `${t}/destinations`,
    destination: `${t}/destinations/billing`,
    'destination-disabled': `${t}/destinations/crm`,
    'destination-deliveries': `${t}/destinations/billing/deliveries`,
    'destination-settings': `${t}/destinations/warehouse/settings`,
    'destination-filter': `${t}/destinations/large-orders/filter`,
    'destination-new-kafka': `${t}/destinations/new?type=kafka`,
    'destination-secrets': `${t}/destinations/warehouse/secrets`,
    'destination-new': `${t}/destinations/new`,
    'destination-new-webhook': `${t}/destinations/new?type=webhook`,
    'destination-test': `${t}/destinations/warehouse/test`,
    'destination-enable': `${t}/destinations/crm/enable`,
    events: `${t}/events`,
    'events-filtered': `${t}/events?status=failed&range=24h`,
    event: `${t}/events/${failed}`,
    attempt: `${t}/attempts/${attempt.id}`,
    retries: `${t}/retries`,
    retry: `${t}/retries/${retry.id}`,
    'retry-new': `${t}/retries/new?status=failed&status=delivered&range=24h`,
    alerts: `${t}/alerts`,
    alert: `${t}/alerts/${alert.id}`,
    'alert-rules': `${t}/alerts/rules`,
    'alert-rule-new': `${t}/alerts/rules/new`,
    'alert-channels': `${t}/alerts/channels`,
    'alert-channel-new': `${t}/alerts/channels/new?type=slack`,
    notifications: `${t}/alerts/notifications`,
    audit: `${t}/audit`,
    'audit-entry': `${t}/audit/${changed.id}`,
    'audit-all': '/audit',
    'destination-activity': `${t}/destinations/large-orders/activity`,
    'event-erased': `${t}/events/${erasedEvent}`,
    erasures: `${t}/erasures`,
    'erasure-new': `${t}/erasures/new`,
    'tenant-export': `${t}/export`,
    'topic-retention': '/server/topic-retention',
    cells: '/server/cells',
    moves: '/server/moves',
    'move-new': '/server/moves/new',
    erasure: `${t}/erasures/${erasure.id}`,
    topics: `${t}/topics`,
    'api-keys': '/api-keys',
    'docs-api': '/docs/api',
    'docs-api-publishing': '/docs/api/publishing',
    users: '/users',
    user: `/users/${user}`,
    'user-delete': `/users/${user}/delete`,
    members: `${t}/members`,
    'invitation-new': '/invitations/new',
    'invitation-revoke': `/invitations/${invitation.id}/revoke`,
    invite: new URL(invitation.url).pathname,
    account: '/account',
    'second-factor': '/account/second-factor',
    'passkey-new': '/account/passkeys/new',
    confirm: '/confirm?return=%2Fapi-keys%2Fnew',
    tenants: '/tenants',
    'events-all': '/events',
    server: '/server',
    'server-settings': '/server/settings',
    'server-defaults': '/server/defaults',
    'server-usage': '/server/usage',
    usage: `${t}/usage`,
    'usage-none': `${t}/usage?from=2024-01-01&to=2024-01-31`,
    settings: `${t}/settings`,
    'first-steps': '/t/globex',
    login: '/login',
    'event-raw': `${t}/events/${failed}?view=raw`,
    'event-filtered-out': `${t}/events/${filtered.event_id}`,
    'events-search': `${t}/events?q=${encodeURIComponent('data.total:>100')}`,
    'events-none': `${t}/events?topic=nothing.like.it`,
    attempts: `${t}/attempts`,
    compare: `${t}/attempts/compare?a=${attempt.id}&b=${last.id}`,
    find: `${t}/find?q=bill`,
    help: `${t}/help`,
    'filter-help': `${t}/docs/filters`,
    'filter-send': `${t}/destinations/large-orders/filter/send`,
    'destination-disable': `${t}/destinations/billing/disable`,
    'destinations-enable': `${t}/selected-destinations/enable?destination_id=crm&destination_id=billing`,
    'destinations-disable': `${t}/selected-destinations/disable?destination_id=crm&destination_id=billing`,
    'destinations-selected': `${t}/selected-destinations?destination_id=crm&destination_id=billing`,
    'destination-delete': `${t}/destinations/billing/delete`,
    'alert-rule': `${t}/alerts/rules/${rule.id}`,
    'alert-channel': `${t}/alerts/channels/${channel.id}`,
    'topic-delete': `${t}/topics/delete?name=order.paid`,
    'api-key-new': '/api-keys/new',
    'api-key': `${t}/api-keys/${key.id}`,
    'api-key-revoke': `${t}/api-keys/${key.id}/revoke`,
    'tenant-new': '/tenants/new',
    'tenant-settings': `${t}/settings/tenant`,
    'not-found': `${t}/nowhere`,
  };
}
