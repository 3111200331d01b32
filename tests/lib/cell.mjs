// A PostgreSQL of its own for a cell, in a server that can be taken away.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './server.mjs';

// startCell starts one. Its address is that of an empty database; stop takes it away.
export async function startCell() {
  const { TEST_DATABASE_URL: _, ...env } = process.env; // that of the tests is another one
  const child = spawn(join(root, 'bin/withpostgres'), ['sh', '-c', 'echo "$TEST_DATABASE_URL"; exec cat'], { cwd: root, env, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  const atExit = () => child.kill('SIGTERM');
  process.once('exit', atExit);
  const address = await new Promise((resolve, reject) => {
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text;
      if (out.includes('\n')) resolve(out.trim());
    });
    ended.then(() => reject(new Error('the PostgreSQL of the cell has ended')));
  });
  let stopped;
  return {
    address,
    stop() {
      process.off('exit', atExit);
      child.stdin.end();
      return (stopped ??= ended);
    },
  };
}
