// Outpost's Go client: tests/sdk/go. OUTPOST_GO names the folder of the client in a checkout of Outpost's repository
// (sdks/outpost-go), since not every module proxy has it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { testAgainst } from '../lib/foreign.mjs';
import { root } from '../lib/server.mjs';

test('the Go client', async () => {
  assert.ok(process.env.OUTPOST_GO, 'OUTPOST_GO is not set: it is the folder sdks/outpost-go of a checkout');
  const cwd = mkdtempSync(join(tmpdir(), 'waybill-go-'));
  try {
    cpSync(join(root, 'tests/sdk/go'), cwd, { recursive: true });
    const name = 'github.com/hookdeck/outpost/sdks/outpost-go';
    execFileSync('go', ['mod', 'edit', '-require', `${name}@v0.0.0`, '-replace', `${name}=${resolve(process.env.OUTPOST_GO)}`], { cwd });
    await testAgainst('go', ['test', '-mod=mod', '-count=1', '.'], { cwd });
  } finally {
    rmSync(cwd, { recursive: true });
  }
});
