// Waybill below a path of a host: behind a proxy that passes the path on, and behind one that takes it off.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { after, test } from 'node:test';
import { startServer } from '../lib/server.mjs';
import { admin, launch, wide } from './harness.mjs';

const prefix = '/hooks/waybill';
const browser = launch();
after(async () => (await browser).close());

// startProxy serves what is below the prefix, and nothing else.
async function startProxy(strip) {
  const proxy = createServer((incoming, answer) => {
    if (!incoming.url.startsWith(`${prefix}/`)) {
      answer.writeHead(404).end('nothing here');
      return;
    }
    const path = strip ? incoming.url.slice(prefix.length) : incoming.url;
    const onward = request({ port: proxy.target, host: '127.0.0.1', method: incoming.method, path, headers: incoming.headers }, (reply) => {
      answer.writeHead(reply.statusCode, reply.rawHeaders);
      reply.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    incoming.pipe(onward);
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  return proxy;
}

for (const strip of [false, true]) {
  for (const js of [true, false]) {
    test(`below a path that the proxy ${strip ? 'takes off' : 'passes on'}, ${js ? 'with' : 'without'} JavaScript`, { timeout: 300_000 }, async () => {
      const proxy = await startProxy(strip);
      const origin = `http://127.0.0.1:${proxy.address().port}`;
      const server = await startServer({ env: { BASE_URL: origin + prefix } });
      proxy.target = new URL(server.base).port;
      const context = await (await browser).newContext({ baseURL: origin, javaScriptEnabled: js, viewport: wide });
      const page = await context.newPage();
      const troubles = [];
      page.on('pageerror', (error) => troubles.push(`script: ${error.message}`));
      context.on('request', (r) => { if (!r.url().startsWith(`${origin}${prefix}/`)) troubles.push(`request outside of the path: ${r.url()}`); });
      context.on('response', (r) => { if (r.status() >= 400) troubles.push(`${r.status()} ${r.url()}`); });
      const main = page.getByRole('main');
      try {
        // The first user, by the link that the server prints.
        await page.goto(`${origin}${prefix}/setup?code=${server.setupCode}`);
        await main.getByLabel(/^\s*Your name/).fill(admin.name);
        await main.getByLabel(/^\s*Email/).fill(admin.email);
        await main.getByLabel(/^\s*Password/).and(main.locator('input')).fill(admin.password);
        await main.locator('form button[type=submit]').last().click();
        await page.waitForURL(`**${prefix}/**`);
        assert.ok((await context.cookies()).every((c) => c.path === prefix), 'cookies are for the path only');

        // Log out, and in again: back to where one wanted to be.
        await context.clearCookies();
        await page.goto(`${origin}${prefix}/t/demo/destinations/new?type=echo`);
        assert.match(page.url(), new RegExp(`${prefix}/login\\?`));
        await main.getByLabel(/^\s*Email/).fill(admin.email);
        await main.getByLabel(/^\s*Password/).and(main.locator('input')).fill(admin.password);
        await main.getByRole('button', { name: 'Log in' }).click();
        await page.waitForURL(`${origin}${prefix}/t/demo/destinations/new?type=echo`);

        // A destination, and a test event to it.
        await main.getByLabel(/^\s*Name/).fill('Below a path');
        await main.getByRole('button', { name: /^Create destination|^Save/ }).first().click();
        await page.waitForURL(/\/destinations\/des_/);
        await page.goto(`${page.url().split('?')[0]}/test`);
        await main.getByRole('button', { name: /^Send/ }).click();
        await page.waitForURL(/\/(attempts|events)\//);
        await main.getByText('200').first().waitFor();

        // Icons come from below the path as well.
        const icon = await page.locator('svg use').first().getAttribute('href');
        assert.ok(icon.startsWith(`${prefix}/static/`), icon);
        assert.deepEqual(troubles, []);
      } catch (error) {
        error.stack += `\n${page.url()}\n${(await page.locator('body').innerText().catch(() => '')).slice(0, 1500)}\n${troubles.join('\n')}`;
        throw error;
      } finally {
        await context.close();
        await server.stop();
        proxy.close();
        proxy.closeAllConnections();
      }
    });
  }
}
