// A Waybill server of its own for a test file: `waybill serve` on a free port, with a private PostgreSQL in a fresh
// directory. WAYBILL_BIN names the program; without it the program is built first.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export const apiKey = 'wb_key_of_the_tests_0123456789';

// eventually asks until the answer is truthy, and returns it. What the asking throws counts as "not yet".
export async function eventually(ask, what = 'the condition', limit = 60_000) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what} did not come about within ${limit / 1000} s`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// freePort finds a port for a server that is about to start. It is one that the system does not give to outgoing
// connections, which could take it before the server does.
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise((resolve, reject) => {
      const probe = createServer().once('error', (error) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

function program() {
  if (process.env.WAYBILL_BIN) return process.env.WAYBILL_BIN;
  execFileSync('make', ['--no-print-directory', '--silent', 'build'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  return join(root, 'bin', 'waybill');
}

// startServer starts a server and waits until it is ready. Retries follow each other at once, so that a delivery's
// attempts are over within a moment; env changes that and any other setting, bin the program, host the name by which it is called.
// With errors, those that it logs are no failure.
export async function startServer({ env = {}, bin = program(), host = '127.0.0.1', errors: mayFail = false } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'waybill-serve-'));
  chmodSync(dir, 0o755); // PostgreSQL does not run as root, and its account must reach its directory
  const port = await freePort();
  const base = `http://${host}:${port}`;
  const child = spawn(bin, ['serve'], {
    cwd: dir,
    env: {
      PATH: process.env.PATH, HOME: process.env.HOME, LANG: process.env.LANG ?? 'C.UTF-8', DATA_DIR: join(dir, 'data'), PORT: String(port),
      BASE_URL: base, API_KEY: apiKey, RETRY_SCHEDULE: '1ms,1ms', LOG_FORMAT: 'json', LOG_LEVEL: 'info', ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let log = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const ended = new Promise((resolve) => { child.once('exit', (code, signal) => resolve(signal ?? code)); });
  let gone = false;
  ended.then(() => { gone = true; });

  const cleanUp = () => rmSync(dir, { recursive: true, force: true });
  const atExit = () => {
    child.kill('SIGKILL'); // its PostgreSQL ends with it
    cleanUp();
  };
  process.once('exit', atExit);

  const api = async (method, path, body, headers = {}) => {
    const answer = await fetch(`${base}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return answer.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text;
  };

  let tenants = 0;
  const server = {
    base,
    api,
    get out() { return out; },
    get log() { return log; },
    // setupCode is the one-time code that the server printed.
    get setupCode() { return out.match(/\/setup\?code=(\w+)/)?.[1]; },
    // tenant makes a tenant that nobody else uses.
    async tenant(name = 'acme') {
      const id = `${name}-${++tenants}`;
      await api('PUT', `/tenants/${id}`, {});
      return id;
    },
    // destination makes a destination: by default an Echo inbox that takes everything.
    destination: (tenant, body = {}) => api('POST', `/tenants/${tenant}/destinations`, { type: 'echo', topics: '*', ...body }),
    // publish publishes an event and waits until each of its deliveries has had its first outcome.
    publish: (tenant, body = {}) => api('POST', '/publish', { tenant_id: tenant, topic: 'order.created', data: { n: 1 }, ...body }, { prefer: 'wait=20' }),
    // settled waits until nothing is under way any more for an event, and returns its deliveries.
    settled: (tenant, event) => eventually(async () => {
      const { models } = await api('GET', `/events/${event}/deliveries?tenant_id=${tenant}`);
      return models.every((d) => !['pending', 'delivering', 'retrying'].includes(d.status)) && models;
    }, `the end of event ${event}`),
    // run runs another command of the program beside the server, with this input, and returns what it prints.
    run: (args, input = '') => execFileSync(bin, args, {
      cwd: dir, input, encoding: 'utf8', env: { PATH: process.env.PATH, HOME: process.env.HOME, DATA_DIR: join(dir, 'data') },
    }),
    // stop ends the server. What it logged as an error is a failure.
    async stop() {
      child.kill('SIGTERM');
      const how = await ended;
      process.off('exit', atExit);
      cleanUp();
      const errors = log.split('\n').filter((line) => /"level":"ERROR"|^panic|DATA RACE/.test(line));
      if (how !== 0 || (errors.length > 0 && !mayFail)) {
        // Standard error besides, because a runner may not tell of what happens after its tests.
        process.stderr.write(`${errors.join('\n')}\n`);
        throw new Error(`The server ended with ${how}; errors in its log: ${errors.length}`);
      }
    },
  };
  await eventually(async () => {
    if (gone) return true;
    return out.includes('Publish a first event') && (await fetch(`${base}/readyz`)).ok;
  }, 'the start of the server');
  if (gone) throw new Error(`The server has ended:\n${out}${log}`);
  return server;
}

// Whoever runs the tests may end them; then what was started goes, too.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
