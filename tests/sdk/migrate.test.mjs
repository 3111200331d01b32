// The script in docs/migrate-outpost.md copies what there is from one server to another. Waybill plays both.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { apiKey, root, startServer } from '../lib/server.mjs';

let from;
let to;

before(async () => {
  [from, to] = await Promise.all([startServer(), startServer()]);
});

after(() => Promise.all([from?.stop(), to?.stop()]));

test('the script of the page copies tenants and destinations', async () => {
  const [, , block] = readFileSync(join(root, 'docs/migrate-outpost.md'), 'utf8').split('```js');
  const script = block.split('```')[0];
  assert.match(script, /tenants\.list/);

  await from.api('PUT', '/tenants/acme', { metadata: { plan: 'pro' } });
  await from.api('PUT', '/tenants/empty', {});
  const create = (body) => from.api('POST', '/tenants/acme/destinations', { topics: '*', ...body });
  const hook = await create({
    id: 'hook', type: 'webhook', topics: ['order.created'], config: { url: 'https://example.com/hooks' }, filter: { total: { $gte: 10 } },
    metadata: { a: '1' }, delivery_metadata: { b: '2' },
  });
  await create({ id: 'search', type: 'webhook', config: { url: 'https://example.com/hooks' }, filter: 'total:>=10' });
  await create({ id: 'off', type: 'webhook', config: { url: 'https://example.com/hooks' }, disabled_at: new Date().toISOString() });
  await create({
    id: 'queue', type: 'aws_sqs', config: { queue_url: 'https://sqs.eu-west-1.amazonaws.com/123456789012/orders' },
    credentials: { key: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
  });

  const file = join(root, 'tests/sdk/.migrate.tmp.mjs'); // where the package is found
  writeFileSync(file, script);
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [file], {
      env: { PATH: process.env.PATH, OUTPOST_URL: `${from.base}/api/v1`, OUTPOST_API_KEY: apiKey, WAYBILL_URL: `${to.base}/api/v1`, WAYBILL_API_KEY: apiKey },
    });
    assert.deepEqual(stdout.match(/^copied .*$/gm)?.toSorted(), ['copied acme hook', 'copied acme off', 'copied acme search'], stdout);
    assert.match(stdout, /^not copied: acme queue \(aws_sqs\): .*masked/m, stdout);
  } finally {
    rmSync(file);
  }
  assert.deepEqual((await to.api('GET', '/tenants/acme')).metadata, { plan: 'pro' });
  assert.equal((await to.api('GET', '/tenants/empty')).destinations_count, 0);
  const copied = await to.api('GET', '/tenants/acme/destinations/hook');
  for (const field of ['topics', 'filter', 'metadata', 'delivery_metadata', 'config', 'disabled_at']) assert.deepEqual(copied[field], hook[field], field);
  assert.deepEqual(await to.api('POST', '/tenants/acme/destinations/hook/secrets/reveal'), await from.api('POST', '/tenants/acme/destinations/hook/secrets/reveal'));
  assert.equal((await to.api('GET', '/tenants/acme/destinations/search')).filter, 'total:>=10');
  assert.ok((await to.api('GET', '/tenants/acme/destinations/off')).disabled_at);
});
