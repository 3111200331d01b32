// The MCP server that Outpost's npm package brings, over its standard input and output, in front of a Waybill server: an
// assistant that has it can do with Waybill what it does with Outpost. Two of its tools are for the settings of the hosted
// product only.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { startReceiver } from '../lib/receiver.mjs';
import { apiKey, eventually, root, startServer } from '../lib/server.mjs';

const hostedOnly = ['configuration-get-managed-config', 'configuration-update-managed-config'];

let server;
let receiver;
let mcp;

// startMCP starts the program and returns what sends it requests.
function startMCP(base) {
  const program = join(root, 'node_modules/@hookdeck/outpost-sdk/bin/mcp-server.js');
  const child = spawn(process.execPath, [program, 'start', '--api-key', apiKey, '--server-url', base], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line);
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  let last = 0;
  const request = async (method, params) => {
    const id = ++last;
    const answer = new Promise((resolve) => { waiting.set(id, resolve); });
    send({ id, method, params });
    const message = await Promise.race([answer, ended.then(() => { throw new Error('the MCP server has ended'); })]);
    if (message.error) throw new Error(`${method}: ${JSON.stringify(message.error)}`);
    return message.result;
  };
  return {
    request,
    notify: (method) => send({ method }),
    async stop() {
      child.kill();
      await ended;
    },
  };
}

const called = new Set();

// call calls a tool. What it says is JSON, or nothing.
async function call(name, args = {}) {
  called.add(name);
  const { content, isError } = await mcp.request('tools/call', { name, arguments: args });
  const text = content.map((c) => c.text).join('');
  assert.ok(!isError, `${name} answers ${text}`);
  return JSON.parse(text);
}

before(async () => {
  [server, receiver] = await Promise.all([startServer(), startReceiver()]);
  mcp = startMCP(`${server.base}/api/v1`);
  const hello = await mcp.request('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } });
  assert.ok(hello.capabilities.tools);
  mcp.notify('notifications/initialized');
});

after(async () => {
  await mcp?.stop();
  await receiver?.close();
  await server?.stop();
});

test('a tenant and its destinations', async () => {
  assert.equal((await call('health-check')).status, 'healthy');
  assert.equal((await call('tenants-upsert', { tenantId: 'mcp', body: { metadata: { plan: 'pro' } } })).id, 'mcp');
  assert.equal((await call('tenants-get', { tenantId: 'mcp' })).metadata.plan, 'pro');
  assert.ok((await call('tenants-list', { request: { id: ['mcp'] } })).models.length === 1);
  assert.ok((await call('tenants-get-token', { tenantId: 'mcp' })).token);
  assert.match(JSON.stringify(await call('tenants-get-portal-url', { tenantId: 'mcp', theme: 'dark' })), /http/);
  assert.ok(Array.isArray(await call('topics-list')));

  const types = await call('schemas-list-destination-types');
  assert.ok(types.some((t) => t.type === 'webhook') && types.some((t) => t.type === 'echo'));
  assert.equal((await call('schemas-get-destination-type', { type: 'rabbitmq' })).type, 'rabbitmq');

  const at = { tenantId: 'mcp', destinationId: 'hook' };
  const made = await call('destinations-create', { tenantId: 'mcp', body: { id: 'hook', type: 'webhook', topics: '*', config: { url: receiver.url } } });
  assert.equal(made.id, 'hook');
  await server.destination('mcp', { id: 'inbox' }); // of a type that it does not know
  assert.deepEqual((await call('destinations-list', { tenantId: 'mcp' })).map((d) => d.id), ['hook']);
  assert.equal((await call('destinations-get', at)).config.url, receiver.url);
  assert.deepEqual((await call('destinations-update', { ...at, body: { type: 'webhook', topics: ['order.created'] } })).topics, ['order.created']);
  assert.ok(await call('destinations-disable', at));
  assert.ok((await server.api('GET', '/tenants/mcp/destinations/hook')).disabled_at);
  await call('destinations-enable', at);
  assert.equal((await server.api('GET', '/tenants/mcp/destinations/hook')).disabled_at, null);
});

test('an event, its attempts, a retry and figures', async () => {
  const sent = await call('publish', { request: { id: 'mcp-1', tenant_id: 'mcp', topic: 'order.created', data: { total: 12 } } });
  assert.equal(sent.id, 'mcp-1');
  const attempt = await eventually(async () => (await call('attempts-list', { request: { event_id: 'mcp-1', destination_id: 'hook' } })).models[0], 'the attempt');
  assert.equal(attempt.status, 'success');
  assert.equal((await call('events-get', { eventId: 'mcp-1' })).topic, 'order.created');
  assert.equal((await call('events-list', { request: { tenant_id: 'mcp' } })).models.length, 1);
  assert.equal((await call('attempts-get', { attemptId: attempt.id, include: 'event' })).event.id, 'mcp-1');
  const below = { tenantId: 'mcp', destinationId: 'hook' };
  assert.equal((await call('destinations-get-attempt', { ...below, attemptId: attempt.id })).id, attempt.id);
  assert.equal((await call('destinations-list-attempts', { request: { tenant_id: 'mcp', destination_id: 'hook' } })).models.length, 1);

  assert.ok(await call('retry', { request: { event_id: 'mcp-1', destination_id: 'hook' } }));
  await eventually(async () => (await call('attempts-list', { request: { event_id: 'mcp-1', destination_id: 'hook' } })).models.length === 2, 'the retry');
  const time = { start: new Date(Date.now() - 3600_000).toISOString(), end: new Date(Date.now() + 60_000).toISOString() };
  assert.equal((await call('metrics-get-event-metrics', { request: { time, measures: 'count', 'filters[tenant_id]': 'mcp' } })).data.length, 1);
  assert.equal((await call('metrics-get-attempt-metrics', { request: { time, measures: ['count'], 'filters[tenant_id]': 'mcp' } })).data[0].metrics.count, 3); // with the inbox's

  assert.ok(await call('destinations-delete', { tenantId: 'mcp', destinationId: 'hook' }));
  assert.ok(await call('tenants-delete', { tenantId: 'mcp' }));
});

test('every tool was called that has anything to do here', async () => {
  const { tools } = await mcp.request('tools/list');
  assert.deepEqual(tools.map((t) => t.name).filter((name) => !called.has(name)).sort(), hostedOnly);
});
