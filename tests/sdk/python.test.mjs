// Outpost's PyPI client against a server of this test: tests/sdk/python. PYTHON_SDK names the interpreter that has the
// client; scripts/python-packages.sh prints one.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startReceiver } from '../lib/receiver.mjs';
import { apiKey, root, startServer } from '../lib/server.mjs';

let server;
let receiver;

before(async () => {
  [server, receiver] = await Promise.all([startServer({ env: { TOPICS: 'user.created,user.updated,order.created,heartbeat' } }), startReceiver()]);
});

after(async () => {
  await receiver?.close();
  await server?.stop();
});

test('the PyPI client', async () => {
  assert.ok(process.env.PYTHON_SDK, 'PYTHON_SDK is not set: run make test-sdk');
  const child = spawn(process.env.PYTHON_SDK, ['-B', 'test_outpost.py'], {
    cwd: join(root, 'tests/sdk/python'),
    env: { PATH: process.env.PATH, WAYBILL_URL: server.base, WAYBILL_KEY: apiKey, WAYBILL_RECEIVER: receiver.url },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { out += text; });
  const code = await new Promise((resolve) => { child.once('exit', resolve); });
  assert.equal(code, 0, out);
});
