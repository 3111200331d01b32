// Wire compatibility: the published client of Hookdeck Outpost speaks to a Waybill server. The client checks every answer
// against its own schemas and throws when one does not fit, so that every call here tests the shape besides the values.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Outpost } from '@hookdeck/outpost-sdk';
import { APIErrorResponse, BadRequestError, NotFoundError, OutpostError, UnauthorizedError } from '@hookdeck/outpost-sdk/models/errors';
import { startReceiver, verifies } from '../lib/receiver.mjs';
import { apiKey, eventually, startServer } from '../lib/server.mjs';

let server;
let receiver;
let outpost;

const client = (key) => new Outpost({ serverURL: `${server.base}/api/v1`, apiKey: key });

before(async () => {
  [server, receiver] = await Promise.all([startServer(), startReceiver()]);
  outpost = client(apiKey);
});

after(async () => {
  await receiver?.close();
  await server?.stop();
});

const recent = (date) => {
  assert.ok(date instanceof Date, `${date} is no date`);
  assert.ok(Math.abs(Date.now() - date) < 60_000, `${date.toISOString()} is not now`);
};

const webhook = (more = {}) => ({ type: 'webhook', topics: '*', config: { url: receiver.url }, ...more });

// attempts waits until a destination has so many attempts, and returns them, newest first.
const attempts = (tenantId, destinationId, n) => eventually(async () => {
  const { models } = await outpost.attempts.list({ tenantId, destinationId });
  return models.length >= n && models;
}, `${n} attempts`);

test('health', async () => {
  const health = await outpost.health.check();
  assert.equal(health.status, 'healthy');
  recent(health.timestamp);
  assert.ok(Object.keys(health.workers).length > 0);
});

test('tenants: upsert, get, list, delete', async () => {
  const made = await outpost.tenants.upsert('sdk-tenant', { metadata: { plan: 'pro' } });
  assert.equal(made.id, 'sdk-tenant');
  assert.deepEqual(made.metadata, { plan: 'pro' });
  assert.equal(made.destinationsCount, 0);
  assert.deepEqual(made.topics, []);
  recent(made.createdAt);
  recent(made.updatedAt);

  const changed = await outpost.tenants.upsert('sdk-tenant', { metadata: { plan: 'free' } });
  assert.deepEqual(changed.metadata, { plan: 'free' });
  assert.deepEqual(changed.createdAt, made.createdAt);
  assert.equal((await outpost.tenants.upsert('sdk-tenant-bare')).id, 'sdk-tenant-bare');

  await outpost.destinations.create('sdk-tenant', webhook({ topics: ['order.created', 'order.paid'] }));
  const got = await outpost.tenants.get('sdk-tenant');
  assert.equal(got.destinationsCount, 1);
  assert.deepEqual(got.topics.sort(), ['order.created', 'order.paid']);

  const one = await outpost.tenants.list({ id: 'sdk-tenant' });
  assert.deepEqual(one.models.map((t) => t.id), ['sdk-tenant']);
  assert.equal(one.count, 1);
  const both = await outpost.tenants.list({ id: ['sdk-tenant', 'sdk-tenant-bare'], dir: 'asc' });
  assert.deepEqual(both.models.map((t) => t.id), ['sdk-tenant', 'sdk-tenant-bare']);
  assert.equal(both.pagination.dir, 'asc');
  assert.equal(typeof both.pagination.orderBy, 'string');

  assert.deepEqual(await outpost.tenants.delete('sdk-tenant-bare'), { success: true });
  await assert.rejects(outpost.tenants.get('sdk-tenant-bare'), NotFoundError);
});

test('tenants: pages by cursor', async () => {
  for (let i = 0; i < 5; i++) await outpost.tenants.upsert(`sdk-page-${i}`);
  const id = [0, 1, 2, 3, 4].map((i) => `sdk-page-${i}`);
  const seen = [];
  let next;
  do {
    const page = await outpost.tenants.list({ id, limit: 2, dir: 'asc', next });
    assert.equal(page.pagination.limit, 2);
    seen.push(...page.models.map((t) => t.id));
    next = page.pagination.next ?? undefined;
    if (seen.length === 4) {
      const back = await outpost.tenants.list({ id, limit: 2, dir: 'asc', prev: page.pagination.prev });
      assert.deepEqual(back.models.map((t) => t.id), id.slice(0, 2));
    }
  } while (next);
  assert.deepEqual(seen, id);
});

test('tenants: token and portal', async () => {
  await outpost.tenants.upsert('sdk-mine');
  await outpost.tenants.upsert('sdk-other');
  const { token, tenantId } = await outpost.tenants.getToken('sdk-mine');
  assert.equal(tenantId, 'sdk-mine');

  const own = client(token);
  assert.equal((await own.tenants.get('sdk-mine')).id, 'sdk-mine');
  const made = await own.destinations.create('sdk-mine', webhook());
  assert.equal((await own.destinations.list('sdk-mine'))[0].id, made.id);
  await assert.rejects(own.tenants.get('sdk-other'), NotFoundError);
  await assert.rejects(own.destinations.list('sdk-other'), NotFoundError);
  assert.deepEqual((await own.tenants.list({})).models.map((t) => t.id), ['sdk-mine']); // its own, and no other
  await assert.rejects(own.publish({ tenantId: 'sdk-mine', data: {} }), UnauthorizedError);
  assert.deepEqual((await own.events.list({})).models, []);

  const portal = await outpost.tenants.getPortalUrl('sdk-mine', 'dark');
  assert.equal(portal.tenantId, 'sdk-mine');
  assert.ok(portal.redirectUrl.startsWith(`${server.base}/`), portal.redirectUrl);
  const asked = await fetch(portal.redirectUrl, { redirect: 'manual' });
  assert.equal(asked.status, 200, 'opening the link asks for a click, so that what scans mails does not use it up');
  const entered = await fetch(portal.redirectUrl, { method: 'POST', redirect: 'manual' });
  assert.equal(entered.status, 303);
  assert.equal(entered.headers.get('location'), '/t/sdk-mine');
  assert.notEqual((await fetch(portal.redirectUrl, { method: 'POST', redirect: 'manual' })).status, 303, 'a link is for one use');
});

test('destination types', async () => {
  const types = await outpost.schemas.listDestinationTypes();
  const listed = types.find((t) => t.type === 'webhook');
  const type = await outpost.schemas.getDestinationType('webhook');
  assert.deepEqual(type, listed);
  assert.ok(type.label && type.description && type.instructions);
  assert.match(type.icon, /^<svg/);
  const url = type.configFields.find((f) => f.key === 'url');
  assert.deepEqual([url.type, url.required], ['text', true]);
  assert.equal(type.configFields.find((f) => f.key === 'custom_headers').type, 'key_value_map');
  assert.equal(type.credentialFields.find((f) => f.key === 'secret').sensitive, true);
});

test('destinations: create, get, list, update, delete', async () => {
  await outpost.tenants.upsert('sdk-crud');
  const made = await outpost.destinations.create('sdk-crud', webhook({
    id: 'hook', topics: ['order.created'], filter: { total: { $gte: 10 } }, deliveryMetadata: { source: 'shop' }, metadata: { team: 'billing' },
    config: { url: receiver.url, customHeaders: '{"x-team":"billing"}' },
  }));
  assert.equal(made.id, 'hook');
  assert.equal(made.type, 'webhook');
  assert.deepEqual(made.topics, ['order.created']);
  assert.deepEqual(made.filter, { total: { $gte: 10 } });
  assert.equal(made.config.url, receiver.url);
  assert.deepEqual(Object.keys(JSON.parse(made.config.customHeaders)), ['x-team']); // values may be masked
  assert.match(made.credentials.secret, /^whsec_/);
  assert.deepEqual(made.deliveryMetadata, { source: 'shop' });
  assert.deepEqual(made.metadata, { team: 'billing' });
  assert.equal(made.disabledAt, null);
  assert.ok(made.target);
  recent(made.createdAt);
  recent(made.updatedAt);

  const got = await outpost.destinations.get('sdk-crud', 'hook');
  assert.deepEqual({ ...got, credentials: 0 }, { ...made, credentials: 0 });

  await outpost.destinations.create('sdk-crud', webhook({ id: 'all', filter: {} }));
  const ids = async (...how) => (await outpost.destinations.list('sdk-crud', ...how)).map((d) => d.id).sort();
  assert.deepEqual(await ids(), ['all', 'hook']);
  assert.deepEqual(await ids('webhook'), ['all', 'hook']);
  assert.deepEqual(await ids(['webhook', 'aws_sqs'], ['order.created', 'order.paid']), ['all', 'hook']);
  assert.deepEqual(await ids('aws_sqs'), []);

  const all = await outpost.destinations.get('sdk-crud', 'all');
  assert.deepEqual([all.topics].flat(), ['*']);

  const changed = await outpost.destinations.update('sdk-crud', 'hook', {
    type: 'webhook', topics: ['order.created', 'order.paid'], filter: null, metadata: { team: null, owner: 'ann' }, deliveryMetadata: { region: 'eu' },
  });
  assert.deepEqual(changed.topics, ['order.created', 'order.paid']);
  assert.equal(changed.filter ?? null, null);
  assert.deepEqual(changed.metadata, { owner: 'ann' });
  assert.deepEqual(changed.deliveryMetadata, { source: 'shop', region: 'eu' });
  assert.equal(changed.config.url, receiver.url);

  assert.deepEqual(await outpost.destinations.delete('sdk-crud', 'all'), { success: true });
  await assert.rejects(outpost.destinations.get('sdk-crud', 'all'), NotFoundError);
});

test('destinations: what is refused says why', async () => {
  await outpost.tenants.upsert('sdk-refused');
  await outpost.destinations.create('sdk-refused', webhook({ id: 'once' }));
  const refused = async (promise, status, pattern) => {
    const error = await promise.then(() => assert.fail('it was accepted'), (e) => e);
    assert.equal(error.statusCode, status, error.message);
    assert.ok(error instanceof APIErrorResponse || error instanceof BadRequestError || error instanceof OutpostError);
    assert.match(JSON.stringify(JSON.parse(error.body)), pattern);
  };
  await refused(outpost.destinations.create('sdk-refused', webhook({ id: 'once' })), 400, /id/);
  await refused(outpost.destinations.create('sdk-refused', webhook({ config: { url: 'not a url' } })), 422, /config\.url/);
  await refused(outpost.destinations.create('sdk-refused', webhook({ topics: [] })), 422, /topics/);
  await refused(outpost.destinations.create('sdk-refused', webhook({ filter: { total: { $nonsense: 1 } } })), 422, /filter/);
  await refused(outpost.destinations.create('nobody', webhook()), 404, /tenant/);
  await refused(client('wb_a_key_that_nobody_made').tenants.get('sdk-refused'), 401, /key/);
});

test('destinations: disable, enable, rotate the secret', async () => {
  await outpost.tenants.upsert('sdk-state');
  const made = await outpost.destinations.create('sdk-state', webhook({ id: 'hook' }));
  const off = await outpost.destinations.disable('sdk-state', 'hook');
  recent(off.disabledAt);
  assert.deepEqual((await outpost.destinations.get('sdk-state', 'hook')).disabledAt, off.disabledAt);
  assert.equal((await outpost.destinations.enable('sdk-state', 'hook')).disabledAt, null);

  const rotated = await outpost.destinations.update('sdk-state', 'hook', { type: 'webhook', credentials: { rotateSecret: true } });
  assert.match(rotated.credentials.secret, /^whsec_/);
  assert.notEqual(rotated.credentials.secret, made.credentials.secret);
  assert.equal(rotated.credentials.previousSecret, made.credentials.secret);
  assert.ok(Math.abs(rotated.credentials.previousSecretInvalidAt - Date.now() - 24 * 3600_000) < 60_000);

  receiver.requests.length = 0;
  await outpost.publish({ tenantId: 'sdk-state', topic: 'order.created', data: { n: 1 } });
  const request = await eventually(() => receiver.requests[0], 'the webhook');
  assert.ok(verifies(request, rotated.credentials.secret), 'the new secret does not verify');
  assert.ok(verifies(request, made.credentials.secret), 'the old secret does not verify');
});

test('topics', async () => {
  assert.deepEqual(await outpost.topics.list(), []);
});

test('publish: to subscribers, to one destination, twice, to nobody', async () => {
  await outpost.tenants.upsert('sdk-publish');
  for (const id of ['orders', 'users']) await outpost.destinations.create('sdk-publish', webhook({ id, topics: [`${id}.new`] }));
  receiver.requests.length = 0;

  const accepted = await outpost.publish({ id: 'sdk-publish-1', tenantId: 'sdk-publish', topic: 'orders.new', metadata: { source: 'shop' }, data: { total: 12 } });
  assert.deepEqual(accepted, { id: 'sdk-publish-1', duplicate: false, destinationIds: ['orders'] });
  const again = await outpost.publish({ id: 'sdk-publish-1', tenantId: 'sdk-publish', topic: 'orders.new', data: { total: 12 } });
  assert.deepEqual(again, { id: 'sdk-publish-1', duplicate: true, destinationIds: ['orders'] });

  const request = await eventually(() => receiver.requests[0], 'the webhook');
  assert.equal(request.body, '{"total":12}');
  assert.equal(request.headers['webhook-id'], 'sdk-publish-1');
  assert.equal(request.headers['waybill-topic'], 'orders.new');
  assert.equal(request.headers['waybill-meta-source'], 'shop');

  const direct = await outpost.publish({ tenantId: 'sdk-publish', destinationId: 'users', topic: 'users.new', data: {} });
  assert.deepEqual(direct.destinationIds, ['users']);
  const nobody = await outpost.publish({ tenantId: 'sdk-publish', topic: 'nothing.known', data: {} });
  assert.deepEqual(nobody.destinationIds, []);
  await assert.rejects(outpost.publish({ tenantId: 'nobody', topic: 'orders.new', data: {} }), NotFoundError);
  await eventually(() => receiver.requests.length === 2, 'the second webhook');
});

test('events: get, list, filters, pages', async () => {
  await outpost.tenants.upsert('sdk-events');
  await outpost.destinations.create('sdk-events', webhook({ id: 'hook' }));
  const tenantId = 'sdk-events';
  const time = new Date(Date.now() - 3600_000);
  await outpost.publish({ id: 'sdk-ev-0', tenantId, topic: 'a.b', time, metadata: { k: 'v' }, data: { deep: { list: [1, 'zwei', null] } } });
  for (let i = 1; i < 5; i++) await outpost.publish({ id: `sdk-ev-${i}`, tenantId, topic: 'c.d', data: { i } });

  const event = await outpost.events.get('sdk-ev-0', tenantId);
  assert.equal(event.id, 'sdk-ev-0');
  assert.equal(event.tenantId, tenantId);
  assert.equal(event.topic, 'a.b');
  assert.deepEqual(event.time, time);
  assert.deepEqual(event.metadata, { k: 'v' });
  assert.deepEqual(event.data, { deep: { list: [1, 'zwei', null] } });
  assert.deepEqual(event.matchedDestinationIds, ['hook']);
  assert.equal((await outpost.events.get('sdk-ev-0')).id, 'sdk-ev-0');
  await assert.rejects(outpost.events.get('sdk-ev-none', tenantId), NotFoundError);

  const ids = async (how) => (await outpost.events.list({ tenantId, ...how })).models.map((e) => e.id);
  assert.equal((await ids({})).length, 5);
  assert.deepEqual(await ids({ id: ['sdk-ev-1', 'sdk-ev-2'], dir: 'asc' }), ['sdk-ev-1', 'sdk-ev-2']);
  assert.deepEqual(await ids({ topic: 'a.b' }), ['sdk-ev-0']);
  assert.equal((await ids({ topic: ['a.b', 'c.d'] })).length, 5);
  assert.equal((await ids({ destinationId: 'hook' })).length, 5);
  assert.deepEqual(await ids({ destinationId: 'none' }), []);
  const soon = new Date(Date.now() + 60_000);
  assert.equal((await ids({ time: { gte: new Date(Date.now() - 7200_000), lt: soon } })).length, 5);
  assert.deepEqual(await ids({ time: { gt: soon } }), []);

  const first = await outpost.events.list({ tenantId, limit: 2 });
  assert.equal(first.pagination.orderBy, 'time'); // which the client asks for where nobody says otherwise
  // sdk-ev-0 happened before the others, by its own time, and that is what time sorts and filters by.
  assert.deepEqual(await ids({ orderBy: 'time', dir: 'asc', limit: 1 }), ['sdk-ev-0']);
  assert.deepEqual(await ids({ orderBy: 'time', dir: 'desc', time: { lte: new Date(time.getTime() + 60_000) } }), ['sdk-ev-0']);
  assert.equal((await ids({ orderBy: 'time', time: { gt: time } })).length, 4);
  assert.equal(first.pagination.dir, 'desc');
  assert.equal(first.pagination.prev, null);
  const second = await outpost.events.list({ tenantId, limit: 2, next: first.pagination.next });
  const back = await outpost.events.list({ tenantId, limit: 2, prev: second.pagination.prev });
  assert.deepEqual(back.models.map((e) => e.id), first.models.map((e) => e.id));
  assert.equal(new Set([...first.models, ...second.models].map((e) => e.id)).size, 4);
});

test('attempts: get, list, filters, includes; retry', async () => {
  const tenantId = 'sdk-attempts';
  await outpost.tenants.upsert(tenantId);
  await outpost.destinations.create(tenantId, webhook({ id: 'hook' }));
  receiver.answers(500, 'broken');
  await outpost.publish({ id: 'sdk-at-1', tenantId, topic: 'order.created', metadata: { k: 'v' }, data: { n: 1 } });
  const failed = await attempts(tenantId, 'hook', 3);
  receiver.answers(200, 'ok');

  assert.deepEqual(failed.map((a) => a.attemptNumber), [3, 2, 1]);
  const [last] = failed;
  assert.equal(last.status, 'failed');
  assert.equal(last.code, '500');
  assert.equal(last.manual, false);
  assert.equal(last.eventId, 'sdk-at-1');
  assert.equal(last.destinationId, 'hook');
  assert.equal(last.tenantId, tenantId);
  assert.equal(last.event, undefined);
  assert.equal(last.responseData, undefined);
  recent(last.time);

  assert.deepEqual(await outpost.retry({ eventId: 'sdk-at-1', destinationId: 'hook' }), { success: true });
  const [retried] = await attempts(tenantId, 'hook', 4);
  assert.deepEqual([retried.status, retried.manual, retried.attemptNumber, retried.code], ['success', true, 4, '200']);
  await assert.rejects(outpost.retry({ eventId: 'sdk-at-none', destinationId: 'hook' }), NotFoundError);
  await assert.rejects(outpost.retry({ eventId: 'sdk-at-1', destinationId: 'none' }), NotFoundError);

  const numbers = async (how) => (await outpost.attempts.list({ tenantId, ...how })).models.map((a) => a.attemptNumber);
  assert.deepEqual(await numbers({ status: 'success' }), [4]);
  assert.deepEqual(await numbers({ status: 'failed', dir: 'asc' }), [1, 2, 3]);
  assert.deepEqual(await numbers({ eventId: 'sdk-at-1', topic: 'order.created', destinationType: 'webhook' }), [4, 3, 2, 1]);
  assert.deepEqual(await numbers({ destinationType: ['aws_sqs', 'rabbitmq'] }), []);
  assert.deepEqual(await numbers({ time: { gte: new Date(Date.now() + 60_000) } }), []);
  const page = await outpost.attempts.list({ tenantId, limit: 3 });
  const rest = await outpost.attempts.list({ tenantId, limit: 3, next: page.pagination.next });
  assert.deepEqual(rest.models.map((a) => a.attemptNumber), [1]);

  const include = ['event.data', 'response_data', 'destination'];
  const full = await outpost.attempts.get(last.id, tenantId, include);
  assert.equal(full.responseData.body, 'broken');
  assert.equal(Number(full.responseData.status), 500);
  assert.equal(full.event.id, 'sdk-at-1');
  assert.equal(full.event.eligibleForRetry, true);
  assert.deepEqual(full.event.metadata, { k: 'v' });
  assert.deepEqual(full.event.data, { n: 1 });
  assert.equal(full.destination.id, 'hook');
  const summary = await outpost.attempts.get(last.id, undefined, 'event');
  assert.equal(summary.event.topic, 'order.created');
  assert.equal(summary.event.data, undefined);
  assert.equal(summary.destination, undefined);
  await assert.rejects(outpost.attempts.get('at_none'), NotFoundError);

  const below = await outpost.destinations.listAttempts({ tenantId, destinationId: 'hook', include: 'response_data', limit: 2 });
  assert.deepEqual(below.models.map((a) => a.attemptNumber), [4, 3]);
  assert.equal(below.models[1].responseData.body, 'broken');
  const one = await outpost.destinations.getAttempt(tenantId, 'hook', last.id, include);
  assert.equal(one.id, last.id);
  assert.equal(one.event.id, 'sdk-at-1');
});

test('attempts to a type that Outpost does not have', async () => {
  await outpost.tenants.upsert('sdk-echo');
  await server.destination('sdk-echo', { id: 'inbox' });
  await outpost.publish({ tenantId: 'sdk-echo', topic: 'order.created', data: { n: 1 } });
  const [attempt] = await attempts('sdk-echo', 'inbox', 1);
  assert.deepEqual([attempt.status, attempt.code], ['success', '200']);
});

test('lists of several tenants and events', async () => {
  for (const id of ['sdk-two-a', 'sdk-two-b']) {
    await outpost.tenants.upsert(id);
    await outpost.destinations.create(id, webhook({ id: 'hook' }));
    await outpost.publish({ id: `${id}-event`, tenantId: id, topic: 'order.created', data: {} });
    await attempts(id, 'hook', 1);
  }
  const events = await outpost.events.list({ tenantId: ['sdk-two-a', 'sdk-two-b'], dir: 'asc' });
  assert.deepEqual(events.models.map((e) => e.id), ['sdk-two-a-event', 'sdk-two-b-event']);
  const list = await outpost.attempts.list({ eventId: ['sdk-two-a-event', 'sdk-two-b-event'], dir: 'asc' });
  assert.deepEqual(list.models.map((a) => a.eventId), ['sdk-two-a-event', 'sdk-two-b-event']);
});

test('destinations: disabled and enabled by disabledAt', async () => {
  await outpost.tenants.upsert('sdk-disabled-at');
  const made = await outpost.destinations.create('sdk-disabled-at', webhook({ id: 'hook', disabledAt: new Date() }));
  assert.ok(made.disabledAt);
  assert.equal((await outpost.destinations.update('sdk-disabled-at', 'hook', { type: 'webhook', disabledAt: null })).disabledAt, null);
  assert.ok((await outpost.destinations.update('sdk-disabled-at', 'hook', { type: 'webhook', disabledAt: new Date() })).disabledAt);
});

test('destinations: patterns of topics', async () => {
  await outpost.tenants.upsert('sdk-patterns');
  await outpost.destinations.create('sdk-patterns', webhook({ id: 'hook', topics: ['order.*'] }));
  assert.deepEqual((await outpost.publish({ tenantId: 'sdk-patterns', topic: 'order.created', data: {} })).destinationIds, ['hook']);
  assert.deepEqual((await outpost.publish({ tenantId: 'sdk-patterns', topic: 'user.created', data: {} })).destinationIds, []);
});

test('metrics: events and attempts', async () => {
  const tenantId = 'sdk-metrics';
  await outpost.tenants.upsert(tenantId);
  await outpost.destinations.create(tenantId, webhook({ id: 'hook' }));
  await outpost.destinations.create(tenantId, webhook({ id: 'paid', topics: ['order.paid'] }));
  receiver.answers(500, 'broken');
  await outpost.publish({ id: 'sdk-metrics-1', tenantId, topic: 'order.created', data: {} });
  await attempts(tenantId, 'hook', 3);
  receiver.answers(200, 'ok');
  await outpost.retry({ eventId: 'sdk-metrics-1', destinationId: 'hook' });
  await attempts(tenantId, 'hook', 4);
  await outpost.publish({ tenantId, topic: 'order.paid', data: {} });
  await attempts(tenantId, 'hook', 5);
  await attempts(tenantId, 'paid', 1);

  const time = { start: new Date(Date.now() - 3600_000), end: new Date(Date.now() + 60_000) };
  const filtersTenantId = tenantId;
  const events = await outpost.metrics.getEventMetrics({ time, measures: ['count', 'rate'], granularity: '1h', filtersTenantId });
  assert.equal(events.metadata.granularity, '1h');
  assert.equal(events.metadata.rowCount, events.data.length);
  assert.ok(events.metadata.rowLimit >= 1000 && !events.metadata.truncated && Number.isInteger(events.metadata.queryTimeMs));
  assert.ok(events.data.length >= 2, 'an hour without events has its bucket too');
  assert.equal(events.data.reduce((n, p) => n + p.metrics.count, 0), 2);
  for (const [i, point] of events.data.entries()) {
    assert.ok(point.timeBucket instanceof Date && point.timeBucket % 3600_000 === 0);
    assert.deepEqual(point.dimensions, {});
    if (i > 0) assert.equal(point.timeBucket - events.data[i - 1].timeBucket, 3600_000);
  }
  const byTopic = await outpost.metrics.getEventMetrics({ time, measures: 'count', dimensions: ['topic', 'destination_id'], filtersTenantId: [tenantId, 'sdk-nobody'] });
  assert.deepEqual(byTopic.data, [
    { dimensions: { destination_id: 'hook', topic: 'order.created' }, metrics: { count: 1 } },
    { dimensions: { destination_id: 'hook', topic: 'order.paid' }, metrics: { count: 1 } },
    { dimensions: { destination_id: 'paid', topic: 'order.paid' }, metrics: { count: 1 } },
  ]);
  assert.equal(byTopic.metadata.granularity, undefined);

  const all = ['count', 'successful_count', 'failed_count', 'error_rate', 'first_attempt_count', 'retry_count', 'manual_retry_count', 'avg_attempt_number'];
  const tried = await outpost.metrics.getAttemptMetrics({ time, measures: all, dimensions: ['destination_id', 'destination_type'], filtersTenantId });
  assert.deepEqual(tried.data, [
    { dimensions: { destination_id: 'hook', destination_type: 'webhook' }, metrics: {
      count: 5, successful_count: 2, failed_count: 3, error_rate: 0.6, first_attempt_count: 2, retry_count: 3, manual_retry_count: 1, avg_attempt_number: 11 / 5 } },
    { dimensions: { destination_id: 'paid', destination_type: 'webhook' }, metrics: {
      count: 1, successful_count: 1, failed_count: 0, error_rate: 0, first_attempt_count: 1, retry_count: 0, manual_retry_count: 0, avg_attempt_number: 1 } },
  ]);
  const count = async (how) => {
    const { data } = await outpost.metrics.getAttemptMetrics({ time, measures: ['count', 'rate', 'successful_rate', 'failed_rate'], filtersTenantId, ...how });
    return data.map((p) => [...Object.values(p.dimensions), p.metrics.count].join(' '));
  };
  assert.deepEqual(await count({}), ['6']);
  assert.deepEqual(await count({ dimensions: ['status', 'code'] }), ['200 success 3', '500 failed 3']);
  assert.deepEqual(await count({ dimensions: 'manual' }), ['false 5', 'true 1']);
  assert.deepEqual(await count({ dimensions: ['attempt_number'], filtersDestinationId: 'hook', filtersStatus: 'failed' }), ['1 1', '2 1', '3 1']);
  assert.deepEqual(await count({ filtersTopic: ['order.paid'], filtersCode: ['200', '500'], filtersManual: 'false', filtersAttemptNumber: '1' }), ['2']);
  assert.deepEqual(await count({ filtersDestinationType: ['aws_sqs'] }), ['0']);

  await assert.rejects(outpost.metrics.getEventMetrics({ time, measures: 'count', granularity: '90x' }), (e) => e.statusCode === 422 && /granularity/.test(e.body));
  await assert.rejects(outpost.metrics.getEventMetrics({ time: { start: time.end, end: time.start }, measures: 'count' }), (e) => e.statusCode === 422 && /time\[end\]/.test(e.body));
  const own = client((await outpost.tenants.getToken(tenantId)).token);
  assert.deepEqual((await own.metrics.getEventMetrics({ time, measures: ['count'] })).data, [{ dimensions: {}, metrics: { count: 2 } }]);
  await assert.rejects(own.metrics.getAttemptMetrics({ time, measures: 'count', dimensions: ['tenant_id'] }), (e) => e.statusCode === 403);
});
