// A program in another language that tests a client against a server of ours.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { startReceiver } from './receiver.mjs';
import { apiKey, startServer } from './server.mjs';

// testAgainst starts a server and a receiver, tells a program of them in its environment, and fails as it does.
export async function testAgainst(command, args, { cwd, env = {} }) {
  const [server, receiver] = await Promise.all([startServer({ env: { TOPICS: 'user.created,user.updated,order.created,heartbeat' } }), startReceiver()]);
  try {
    const child = spawn(command, args, {
      cwd,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env, WAYBILL_URL: server.base, WAYBILL_KEY: apiKey, WAYBILL_RECEIVER: receiver.url },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { out += text; });
    const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
    assert.equal(code, 0, out);
  } finally {
    await receiver.close();
    await server.stop();
  }
}
