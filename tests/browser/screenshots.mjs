// Takes pictures of the main pages, with data as one might have, in light, in dark and on a phone:
//
//   node tests/browser/screenshots.mjs <directory>
//
// events-inspector.png is the one that the README shows (docs/screenshot.png).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startServer } from '../lib/server.mjs';
import { fill, settings } from './filled.mjs';
import { admin, launch, phone, wide } from './harness.mjs';

const directory = process.argv[2];
if (!directory) {
  console.error('usage: node tests/browser/screenshots.mjs <directory>');
  process.exit(2);
}
mkdirSync(directory, { recursive: true });

const [server, browser] = await Promise.all([startServer({ env: settings }), launch()]);
const { base } = server;

const session = await fetch(`${base}/setup`, { method: 'POST', body: new URLSearchParams({ ...admin, name: 'Ann', code: server.setupCode }), redirect: 'manual' })
  .then((answer) => answer.headers.getSetCookie().join('\n').match(/^waybill_session=([^;]+)/m)[1]);
const pages = await fill(server);

for (const [look, viewport, colorScheme] of [['', wide, 'light'], ['-dark', wide, 'dark'], ['-phone', phone, 'light']]) {
  const context = await browser.newContext({ baseURL: base, viewport, colorScheme, timezoneId: 'UTC' });
  const page = await context.newPage();
  const picture = async (name) => {
    // The window becomes as high as the page, so that the navigation beside it does, too.
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width: viewport.width, height: Math.max(height, viewport.height) });
    await page.screenshot({ path: join(directory, `${name}${look}.png`) });
    await page.setViewportSize(viewport);
  };
  await page.goto('/login');
  await picture('login');
  await context.addCookies([{ name: 'waybill_session', value: session, url: base, httpOnly: true, sameSite: 'Lax' }]);
  for (const [name, path] of Object.entries(pages)) {
    if (name === 'login') continue;
    await page.goto(path);
    await picture(name);
  }
  await context.close();
}

await browser.close();
await server.stop();
console.log(`${directory}: ${3 * Object.keys(pages).length} pictures`);
