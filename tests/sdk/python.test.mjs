// Outpost's PyPI client: tests/sdk/python. PYTHON_SDK names the interpreter that has the client; scripts/python-packages.sh
// prints one.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { testAgainst } from '../lib/foreign.mjs';
import { root } from '../lib/server.mjs';

test('the PyPI client', async () => {
  assert.ok(process.env.PYTHON_SDK, 'PYTHON_SDK is not set: run make test-sdk');
  await testAgainst(process.env.PYTHON_SDK, ['-B', 'test_outpost.py'], { cwd: join(root, 'tests/sdk/python') });
});
