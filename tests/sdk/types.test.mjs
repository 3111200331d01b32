// Every destination type that Outpost's npm client knows, through that client: made, shown, listed, changed, deleted, and
// refused with the field that is wrong. Nothing is sent anywhere: the names lead to nobody.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Outpost } from '@hookdeck/outpost-sdk';
import { NotFoundError } from '@hookdeck/outpost-sdk/models/errors';
import { apiKey, startServer } from '../lib/server.mjs';

const topics = ['user.created', 'user.updated', 'order.created', 'heartbeat'];
const aws = { key: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
// What a key file holds at least. Whether it is good for anything is found out where it is used.
const keyFile = JSON.stringify({ type: 'service_account', project_id: 'shop-1234' });

// Of each type: what makes one, another config, other credentials, and a mistake with the field that it is in.
const types = {
  webhook: {
    config: { url: 'https://example.com/hooks' }, other: { url: 'https://example.com/elsewhere?a=1&b=%C3%BC' },
    wrong: { config: { url: 'ftp://example.com/' } }, field: /config\.url/,
  },
  aws_sqs: {
    config: { queueUrl: 'https://sqs.eu-west-1.amazonaws.com/123456789012/orders' }, credentials: aws,
    other: { queueUrl: 'https://sqs.eu-west-1.amazonaws.com/123456789012/orders-2' }, secrets: { ...aws, session: 'a-session-token' },
    wrong: { config: { queueUrl: 'not a url' } }, field: /config\.queue_url/,
  },
  aws_kinesis: {
    config: { streamName: 'orders', region: 'eu-west-1' }, credentials: aws,
    other: { streamName: 'orders-2.eu_west', region: 'us-gov-west-1', partitionKeyTemplate: 'data.customer_id' }, secrets: { ...aws, key: 'AKIAI44QH8DHBEXAMPLE' },
    wrong: { config: { streamName: 'or ders', region: 'eu-west-1' } }, field: /config\.stream_name/,
  },
  aws_s3: {
    config: { bucket: 'orders-archive', region: 'eu-west-1' }, credentials: aws,
    other: { bucket: 'orders.archive-2', region: 'ap-southeast-2', storageClass: 'STANDARD_IA' }, secrets: { ...aws, key: 'AKIAI44QH8DHBEXAMPLE' },
    wrong: { config: { bucket: 'Orders Archive', region: 'eu-west-1' } }, field: /config\.bucket/,
  },
  gcp_pubsub: {
    config: { projectId: 'shop-1234', topic: 'orders', endpoint: 'pubsub.googleapis.com:443' }, credentials: { serviceAccountJson: keyFile },
    other: { projectId: 'shop-1234', topic: 'orders-2_a.b~c', endpoint: 'europe-west1-pubsub.googleapis.com' }, secrets: { serviceAccountJson: keyFile.replace('1234', '5678') },
    wrong: { credentials: { serviceAccountJson: 'no JSON at all' } }, field: /service_account_json/,
  },
  azure_servicebus: {
    config: { name: 'orders' }, credentials: { connectionString: 'Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0' },
    other: { name: 'orders/2' }, secrets: { connectionString: 'Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=b3RoZXI=' },
    wrong: { credentials: { connectionString: 'nothing of the kind' } }, field: /connection_string/,
  },
  rabbitmq: {
    config: { serverUrl: 'rabbitmq.example.com:5672', exchange: 'orders' }, credentials: { username: 'shop', password: 'a secret' },
    other: { serverUrl: 'rabbitmq.example.com:5671', exchange: 'orders-2', tls: 'true' }, secrets: { username: 'shop', password: 'another secret' },
    wrong: { config: { serverUrl: 'no port at all', exchange: 'orders' } }, field: /config\.server_url/,
  },
  kafka: {
    config: { brokers: 'kafka.example.com:9092', topic: 'orders', saslMechanism: 'plain' }, credentials: { username: 'shop', password: 'a secret' },
    other: { brokers: 'kafka-1.example.com:9093,kafka-2.example.com:9093', topic: 'orders-2', saslMechanism: 'scram-sha-512', tls: 'true' },
    secrets: { username: 'shop', password: 'another secret' },
    wrong: { config: { brokers: ',,', topic: 'orders', saslMechanism: 'plain' } }, field: /config\.brokers/,
  },
  hookdeck: {
    credentials: { token: Buffer.from('src_1234:key').toString('base64') }, secrets: { token: Buffer.from('src_5678:key').toString('base64') },
    wrong: { credentials: { token: '!' } }, field: /credentials\.token/,
  },
};

let server;
let outpost;

before(async () => {
  server = await startServer({ env: { TOPICS: topics.join() } });
  outpost = new Outpost({ serverURL: `${server.base}/api/v1`, apiKey });
  await outpost.tenants.upsert('types');
});

after(() => server?.stop());

// refusal is the error of a call that must fail.
async function refusal(promise) {
  return promise.then(() => assert.fail('it was accepted'), (error) => error);
}

for (const [type, t] of Object.entries(types)) {
  test(type, async () => {
    const tenant = 'types';
    const part = (key, value) => (value ? { [key]: value } : {});
    const body = { type, topics: '*', ...part('config', t.config), ...part('credentials', t.credentials) };
    const same = (got, want, what) => {
      for (const [key, value] of Object.entries(want ?? {})) assert.equal(got[key], value, `${what} ${key}`);
    };

    const made = await outpost.destinations.create(tenant, body);
    assert.equal(made.type, type);
    assert.deepEqual([made.topics].flat(), ['*']);
    assert.ok(made.target);
    same(made.config, t.config, 'config');
    const own = await outpost.destinations.create(tenant, { ...body, id: `own-${type}`, topics: topics.slice(0, 2) });
    assert.equal(own.id, `own-${type}`);
    assert.deepEqual(own.topics.toSorted(), topics.slice(0, 2));

    const got = await outpost.destinations.get(tenant, made.id);
    assert.equal(got.id, made.id);
    same(got.config, t.config, 'config');
    assert.ok((await outpost.destinations.list(tenant)).some((d) => d.id === made.id));
    if (type !== 'kafka') { // which the client forgot among the words of this parameter
      const listed = await outpost.destinations.list(tenant, type);
      assert.deepEqual(listed.map((d) => d.id).toSorted(), [made.id, own.id].toSorted());
      assert.ok(listed.every((d) => d.type === type));
    } else {
      assert.equal((await server.api('GET', `/tenants/${tenant}/destinations?type=kafka`)).length, 2);
    }

    const at = [tenant, made.id];
    assert.deepEqual((await outpost.destinations.update(...at, { type, topics: [topics[2]] })).topics, [topics[2]]);
    if (t.other) {
      same((await outpost.destinations.update(...at, { type, config: t.other })).config, t.other, 'config');
      same((await outpost.destinations.get(...at)).config, t.other, 'config');
    }
    if (t.secrets) {
      const { version } = await server.api('GET', `/tenants/${tenant}/destinations/${made.id}`);
      await outpost.destinations.update(...at, { type, credentials: t.secrets });
      assert.equal((await server.api('GET', `/tenants/${tenant}/destinations/${made.id}`)).version, version + 1);
      // Masked as they are shown, they can be sent back.
      const shown = (await outpost.destinations.get(...at)).credentials;
      assert.ok(Object.values(shown).every((v) => !Object.values(t.secrets).includes(v) || v.length < 16), JSON.stringify(shown));
      await outpost.destinations.update(...at, { type, credentials: shown });
    }

    const error = await refusal(outpost.destinations.create(tenant, { ...body, ...t.wrong }));
    assert.equal(error.statusCode, 422, error.message);
    assert.match(error.body, t.field);
    assert.equal((await refusal(outpost.destinations.create(tenant, { ...body, topics: [] }))).statusCode, 422);
    assert.match((await refusal(outpost.destinations.create(tenant, { ...body, topics: ['order.unheard-of'] }))).body, /catalogue/);
    // What the client would not send at all, the server refuses as well.
    const bare = { type, topics: '*' };
    for (const incomplete of type === 'webhook' ? [bare, { ...body, type: undefined }, { ...body, type: 'carrier_pigeon' }] : [bare, { ...body, type: undefined }]) {
      const answer = await refusal(server.api('POST', `/tenants/${tenant}/destinations`, incomplete));
      assert.match(answer.message, / 422 .*"(config|credentials|type)/);
    }

    for (const id of ['nobody', 'of no form at all']) {
      await assert.rejects(outpost.destinations.get(tenant, id), NotFoundError);
      await assert.rejects(outpost.destinations.update(tenant, id, { type, topics: '*' }), NotFoundError);
      await assert.rejects(outpost.destinations.delete(tenant, id), NotFoundError);
    }
    for (const id of [made.id, own.id]) {
      assert.deepEqual(await outpost.destinations.delete(tenant, id), { success: true });
      await assert.rejects(outpost.destinations.get(tenant, id), NotFoundError);
    }
  });
}

test('a key file that is good for nothing is found out where it is used', async () => {
  const { config, credentials } = types.gcp_pubsub;
  await outpost.destinations.create('types', { id: 'key', type: 'gcp_pubsub', topics: '*', config, credentials });
  const { ok, stages } = await server.api('POST', '/tenants/types/destinations/key/check');
  assert.deepEqual([ok, stages.length], [false, 1]);
  assert.match(stages[0].message, /service account key must hold client_email and private_key/);
  const attempt = await server.api('POST', '/tenants/types/destinations/key/test', { topic: topics[0] });
  assert.equal(attempt.status, 'failed');
  assert.equal(attempt.error.class, 'config');
  assert.match(attempt.error.message, /client_email/);
});

test('a change is a merge patch', async () => {
  const at = ['types', 'merged'];
  await outpost.destinations.create('types', {
    id: 'merged', type: 'webhook', topics: '*', config: { url: 'https://example.com/hooks' }, filter: { total: { $gte: 10 } },
    metadata: { a: '1', b: '2' }, deliveryMetadata: { a: '1', b: '2' },
  });
  const change = async (patch) => outpost.destinations.update(...at, { type: 'webhook', ...patch });
  for (const field of ['metadata', 'deliveryMetadata']) {
    const after = async (value) => (await change({ [field]: value }))[field] ?? {};
    assert.deepEqual(await after({ c: '3' }), { a: '1', b: '2', c: '3' });
    assert.deepEqual(await after({ a: '4' }), { a: '4', b: '2', c: '3' });
    assert.deepEqual(await after({ b: null }), { a: '4', c: '3' });
    assert.deepEqual(await after({ a: '5', c: null, d: '6' }), { a: '5', d: '6' });
    assert.deepEqual(await after({}), { a: '5', d: '6' });
    assert.deepEqual((await change({ topics: '*' }))[field], { a: '5', d: '6' });
    assert.deepEqual(await after(null), {});
  }
  const filter = async (patch) => (await change(patch)).filter ?? null;
  assert.deepEqual(await filter({ topics: '*' }), { total: { $gte: 10 } });
  assert.deepEqual(await filter({ filter: { currency: 'EUR' } }), { currency: 'EUR' }); // replaced, not merged
  assert.equal(await filter({ filter: {} }), null);
  assert.deepEqual(await filter({ filter: { currency: 'EUR' } }), { currency: 'EUR' });
  assert.equal(await filter({ filter: null }), null);
});

test('topics are those of the catalogue', async () => {
  assert.deepEqual((await outpost.topics.list()).toSorted(), topics.toSorted());
});

test('what the client cannot read is left out and said, and nothing of it is lost', async () => {
  await outpost.tenants.upsert('mixed');
  await outpost.destinations.create('mixed', { id: 'hook', type: 'webhook', topics: '*', config: { url: 'https://example.com/hooks' } });
  const create = (id, body) => server.api('POST', '/tenants/mixed/destinations', { id, topics: '*', ...body });
  await create('search', { type: 'webhook', config: { url: 'https://example.com/hooks' }, filter: 'total:>=10 AND currency:EUR' });
  await create('inbox', { type: 'echo' });
  await create('bus', { type: 'aws_eventbridge', config: { region: 'eu-west-1' }, credentials: aws });
  await create('plain', { type: 'kafka', config: { brokers: 'kafka.example.com:9092', topic: 'orders' } });

  const seen = await outpost.destinations.list('mixed');
  assert.deepEqual(seen.map((d) => d.id).toSorted(), ['hook', 'search']);
  assert.deepEqual(seen.find((d) => d.id === 'search').filter, { $search: 'total:>=10 AND currency:EUR' });
  assert.equal((await outpost.tenants.get('mixed')).destinationsCount, 5);
  assert.equal((await server.api('GET', '/tenants/mixed/destinations')).length, 5);

  const refused = await refusal(outpost.destinations.disable('mixed', 'bus'));
  assert.equal(refused.statusCode, 406);
  assert.match(refused.body, /aws_eventbridge/);
  assert.equal((await server.api('GET', '/tenants/mixed/destinations/bus')).disabled_at, null);

  // A filter that is sent back as it was shown is the same as before.
  await outpost.destinations.update('mixed', 'search', { type: 'webhook', filter: seen.find((d) => d.id === 'search').filter });
  assert.equal((await server.api('GET', '/tenants/mixed/destinations/search')).filter, 'total:>=10 AND currency:EUR');

  await server.publish('mixed', { id: 'mixed-1', data: { total: 1 } });
  await outpost.destinations.delete('mixed', 'inbox');
  const { models } = await outpost.attempts.list({ tenantId: 'mixed', include: ['event', 'destination', 'response_data'] });
  assert.ok(models.length > 0 && models.every((a) => a.event.destinationId === a.destinationId));
});

test('the tenant that a fresh server begins with', async () => {
  assert.deepEqual(await outpost.destinations.list('demo'), []); // its Echo inbox is of a type that the client does not know
  assert.equal((await outpost.tenants.get('demo')).destinationsCount, 1);
});
