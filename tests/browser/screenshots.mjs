// Takes pictures of the main pages, with data as one might have, in light, in dark and on a phone:
//
//   node tests/browser/screenshots.mjs <directory>
//
// events-inspector.png is the one that the README shows (docs/screenshot.png).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startReceiver } from '../lib/receiver.mjs';
import { eventually, startServer } from '../lib/server.mjs';
import { admin, launch, phone, wide } from './harness.mjs';

const directory = process.argv[2];
if (!directory) {
  console.error('usage: node tests/browser/screenshots.mjs <directory>');
  process.exit(2);
}
mkdirSync(directory, { recursive: true });

const [server, browser, good, bad] = await Promise.all([
  startServer({ env: { RETRY_SCHEDULE: '1s,5m', TOPICS: 'order.created,order.paid,order.refunded,customer.created' } }), launch(), startReceiver(), startReceiver(),
]);
const { base, api } = server;
const tenant = 'acme';
const t = `/t/${tenant}`;

const session = await fetch(`${base}/setup`, { method: 'POST', body: new URLSearchParams({ ...admin, name: 'Ann', code: server.setupCode }), redirect: 'manual' })
  .then((answer) => answer.headers.getSetCookie().join('\n').match(/^waybill_session=([^;]+)/m)[1]);

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

const pages = {
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
  topics: `${t}/topics`,
  'api-keys': '/api-keys',
  'docs-api': '/docs/api',
  'docs-api-publishing': '/docs/api/publishing',
  tenants: '/tenants',
  'events-all': '/events',
  settings: `${t}/settings`,
  'first-steps': '/t/globex',
  login: null,
  'not-found': `${t}/nowhere`,
};

for (const [look, viewport, colorScheme] of [['', wide, 'light'], ['-dark', wide, 'dark'], ['-phone', phone, 'light']]) {
  const context = await browser.newContext({ baseURL: base, viewport, colorScheme });
  const page = await context.newPage();
  const picture = async (name) => {
    // The window becomes as high as the page, so that the navigation beside it does, too.
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width: viewport.width, height: Math.max(height, viewport.height) });
    await page.screenshot({ path: join(directory, `${name}${look}.png`) });
    await page.setViewportSize(viewport);
  };
  await page.goto('/login');
  await picture('login');
  await context.addCookies([{ name: 'waybill_session', value: session, url: base, httpOnly: true, sameSite: 'Lax' }]);
  for (const [name, path] of Object.entries(pages)) {
    if (!path) continue;
    await page.goto(path);
    await picture(name);
  }
  await context.close();
}

await browser.close();
await Promise.all([good.close(), bad.close(), server.stop()]);
console.log(`${directory}: ${3 * Object.keys(pages).length} pictures`);
