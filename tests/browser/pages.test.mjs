// What pages have in common: themes, ways back, keyboards, phones; and the pages about keys, topics and settings.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { journey, openSite, phone } from './harness.mjs';
import { root } from '../lib/server.mjs';

const site = await openSite();

// crowd makes a tenant with a bit of everything, in which nothing is short.
const crowd = (() => {
  let made;
  return () => (made ??= (async () => {
    const tenant = `${'long-'.repeat(20)}tenant`;
    await site.api('PUT', `/tenants/${tenant}`, {});
    const words = 'A name that goes on for quite a while, ';
    await site.destination(tenant, { id: 'x'.repeat(256), type: 'webhook', name: 'Unbroken'.repeat(25), config: { url: `http://127.0.0.1:9/${'path/'.repeat(60)}`, custom_headers: { [`X-${'Long'.repeat(20)}`]: 'v'.repeat(500) } }, metadata: { [`key-${'k'.repeat(20)}`]: 'v'.repeat(400) } });
    await site.destination(tenant, { id: 'many', name: words.repeat(5), topics: Array.from({ length: 30 }, (_, i) => `topic.number.${i}.${'and.so.on.'.repeat(8)}x`), filter: { data: { $or: Array.from({ length: 20 }, (_, i) => ({ [`field_${i}`]: { $gte: i } })) } } });
    await site.destination(tenant, { id: 'off', name: 'Off' });
    const { id } = await site.publish(tenant, { id: `e${'-long'.repeat(50)}`, topic: `topic.${'t'.repeat(200)}`, metadata: { [`meta-${'m'.repeat(20)}`]: 'x'.repeat(300) }, data: { text: 'w'.repeat(3000), [`key${'k'.repeat(300)}`]: 1, deep: { deep: { deep: { deep: { list: [1, 2, { a: null }] } } } } } });
    await site.settled(tenant, id);
    await site.api('PUT', `/tenants/${tenant}/destinations/off/disable`, { reason: 'Because. '.repeat(40) });
    for (let i = 0; i < 3; i++) await site.publish(tenant, {});
    const { models } = await site.api('GET', `/attempts?tenant_id=${tenant}&status=failed`);
    const key = await site.api('POST', '/api-keys', { name: words.repeat(4), scopes: ['publish', 'read', 'write', 'retry'], tenant_id: tenant });
    const t = `/t/${tenant}`;
    const d = `${t}/destinations`;
    const x = `${d}/${'x'.repeat(256)}`;
    return {
      tenant,
      pages: [
        '/tenants', '/tenants/new', '/events', '/api-keys', '/api-keys/new', t, d, `${d}/new`, `${d}/new?type=webhook`, `${d}/new?type=echo`,
        x, `${x}/deliveries`, `${x}/deliveries?status=failed&range=24h&error_class=connect`, `${x}/settings`, `${x}/secrets`, `${x}/test`, `${x}/disable`,
        `${d}/many`, `${d}/many/settings`, `${d}/many/test`, `${d}/many/delete`, `${d}/off`, `${d}/off/enable`, `${t}/events`, `${t}/events?status=failed&range=7d&topic=none`,
        `${t}/events/${id}`, `${t}/events/${id}?view=raw`, `${t}/attempts/${models[0].id}`, `${t}/topics`, `${t}/api-keys`, `${t}/api-keys/new`, `${t}/api-keys/${key.id}/revoke`, `${t}/settings`,
      ],
    };
  })());
})();

journey(site, 'every page, with long names and on a phone', { size: phone }, async (v) => {
  const { pages } = await crowd();
  const titles = new Set();
  for (const path of pages) {
    await v.open(path);
    titles.add((await v.page.title()) + v.path.replace(/.*\?/, '?'));
  }
  assert.equal(titles.size, pages.length, 'titles tell pages apart');
});

journey(site, 'a long key of metadata, on a phone', { size: phone }, async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox', metadata: { [`key-${'k'.repeat(60)}`]: 'v' } });
  await v.open(`/t/${tenant}/destinations/inbox`);
});

journey(site, 'a destination with a long name is deleted, on a phone', { size: phone }, async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox', name: 'Unbroken'.repeat(25) });
  await v.open(`/t/${tenant}/destinations/inbox/delete`);
});

journey(site, 'every page can be walked by keyboard, with the focus in sight', { js: true }, async (v) => {
  const { pages, tenant } = await crowd();
  const t = `/t/${tenant}`;
  const event = pages.find((path) => path.startsWith(`${t}/events/e`));
  for (const path of [t, `${t}/destinations`, `${t}/destinations/new?type=webhook`, `${t}/destinations/${'x'.repeat(256)}`, `${t}/events`, event]) {
    for (const size of [{ width: 1280, height: 800 }, phone]) {
      await v.page.setViewportSize(size);
      await v.page.goto(path);
      await v.page.keyboard.press('Tab');
      assert.equal(await v.page.evaluate(() => document.activeElement.textContent.trim()), 'Skip to content', path);
      const hidden = [];
      for (let i = 0; i < 400; i++) {
        const stop = await v.page.evaluate(() => {
          const e = document.activeElement;
          if (e === document.body) return null;
          // The link of a row is as large as the row: its ::after.
          const outline = [getComputedStyle(e), getComputedStyle(e, '::after')].some((s) => s.outlineStyle !== 'none' || s.boxShadow !== 'none');
          // Any point of it will do: it must not be covered, or outside of the window, as a whole.
          const seen = [...e.getClientRects()].some((r) => [[0.5, 0.5], [0.1, 0.5], [0.9, 0.5], [0.5, 0.1], [0.5, 0.9]].some(([fx, fy]) => {
            const top = document.elementFromPoint(r.left + r.width * fx, r.top + r.height * fy);
            return top && (e.contains(top) || top.contains(e));
          }));
          const html = e.outerHTML.slice(0, 120);
          return { seen, outline, html };
        });
        if (!stop) break;
        if (!stop.seen || !stop.outline) hidden.push(stop);
        await v.page.keyboard.press('Tab');
      }
      assert.deepEqual(hidden, [], `${path} at ${size.width} px`);
    }
  }
});

journey(site, 'times are in the zone of the browser, or in UTC by choice', { js: true, timezone: 'Asia/Tokyo' }, async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox' });
  const { id } = await site.api('POST', '/publish', { tenant_id: tenant, data: {} }, { prefer: 'wait=10' });
  const { models: [{ time }] } = await site.api('GET', `/attempts?tenant_id=${tenant}&event_id=${id}`);
  const list = `/t/${tenant}/attempts`;
  const column = (zone) => v.main.getByRole('columnheader', { name: `Started (${zone})` }).waitFor();
  const choose = (name) => v.arrives(() => v.page.getByRole('contentinfo').getByRole('button', { name, exact: true }).click());

  // The first page is made before the server knows, and is read again.
  await v.page.goto(list);
  await column('JST');
  const tokyo = new Date(Date.parse(time) + 9 * 3600_000).toISOString().slice(0, 16);
  const title = await v.main.locator('tbody time').getAttribute('title');
  assert.ok(title.startsWith(tokyo.replace('T', ' ')) && title.includes(`${time.slice(0, 16).replace('T', ' ')}`) && title.endsWith('UTC'), title);
  await v.check();

  await v.main.getByText('More filters').click();
  await v.field('Started from').fill(tokyo);
  await v.press('Apply filters');
  const since = new URL(v.page.url()).searchParams.get('since');
  assert.equal(since, `${time.slice(0, 16)}:00Z`, 'the address holds absolute times');
  assert.equal(await v.main.locator('tbody tr').count(), 1);
  await v.sees(`From: ${tokyo.replace('T', ' ')} JST`);
  assert.equal(await v.field('Started from').inputValue(), tokyo);

  await choose('UTC');
  await column('UTC');
  await v.sees(`From: ${time.slice(0, 16).replace('T', ' ')} UTC`);
  assert.equal(await v.page.getByRole('button', { name: 'UTC', exact: true }).getAttribute('aria-pressed'), 'true');
  await v.open(`/t/${tenant}/settings`);
  await v.main.getByRole('radio', { name: /^Your time zone: Asia\/Tokyo/ }).check();
  await v.press('Save preferences');
  await v.open(list);
  await column('JST');
});

journey(site, 'a theme stays until another is chosen', async (v) => {
  const tenant = await site.tenant();
  const theme = () => v.page.locator('html').getAttribute('data-theme');
  const ground = () => v.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await v.open(`/t/${tenant}/events?range=24h`);
  assert.equal(await theme(), null);
  const light = await ground();
  const choose = (name) => v.arrives(() => v.page.getByRole('contentinfo').getByRole('button', { name }).click());
  await choose('Dark');
  assert.equal(v.path, `/t/${tenant}/events?range=24h`, 'the page stays the same');
  assert.equal(await theme(), 'dark');
  assert.notEqual(await ground(), light);
  assert.equal(await v.page.getByRole('button', { name: 'Dark' }).getAttribute('aria-pressed'), 'true');
  await v.open(`/t/${tenant}/destinations/new`);
  assert.equal(await theme(), 'dark');
  await choose('Light');
  assert.equal(await theme(), 'light');
  await v.open(`/t/${tenant}/settings`);
  await v.main.getByRole('radio', { name: 'System' }).check();
  await v.press('Save preferences');
  await v.sees('Preferences saved in this browser.');
  assert.equal(await theme(), null);
});

journey(site, 'astray, with a way back', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox' });
  for (const path of ['/nowhere', '/t/nobody', `/t/${tenant}/nowhere`, `/t/${tenant}/destinations/none`, `/t/${tenant}/events/none`, `/t/${tenant}/attempts/none`, `/t/${tenant}/api-keys/none/revoke`, '/p/used-up']) {
    await v.open(path, { status: 404 });
    await v.sees(/^Error 404$/);
    await v.follow(/^Go to the/);
  }
  await v.open(`/t/${tenant}/nowhere`, { status: 404 });
  await v.follow('Go to the overview');
  assert.equal(v.path, `/t/${tenant}`);
});

journey(site, 'astray without having logged in', { loggedIn: false }, async (v) => {
  await site.logIn();
  await v.open('/nowhere', { status: 404 });
  await v.follow('Go to the start');
  assert.equal(v.path, '/login');
});

journey(site, 'a customer sees their own tenant and no more', { loggedIn: false }, async (v) => {
  await site.logIn();
  const tenant = await site.tenant('customer');
  const other = await site.tenant('other');
  await site.destination(tenant, { id: 'inbox', name: 'Inbox', config: { answer: '500' } });
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  const { redirect_url: link } = await site.api('GET', `/tenants/${tenant}/portal?theme=dark`);
  await v.open(link.slice(site.base.length));
  await v.press('Open dashboard');
  assert.equal(v.path, `/t/${tenant}`, 'the address has no token');
  assert.equal(await v.page.locator('html').getAttribute('data-theme'), 'dark');
  const nav = v.page.getByRole('navigation', { name: 'Main' });
  assert.equal(await nav.getByRole('link', { name: 'API keys' }).count(), 0);
  assert.equal(await v.page.getByRole('link', { name: /switch tenant/ }).count(), 0);
  for (const path of ['/tenants', '/events', '/api-keys', '/tenants/new', `/t/${tenant}/api-keys`]) {
    await v.open(path, { status: 403 });
    await v.sees(/^Error 403$/);
    await v.follow(/^Go to the/);
    assert.equal(v.path, `/t/${tenant}`);
  }
  await v.open(`/t/${other}`, { status: 404 });
  await v.open(`/t/${tenant}/topics`);
  assert.equal(await v.field('Description').count(), 0);
  await v.open(`/t/${tenant}/events/${id}`);
  await v.press(/^Retry to/);
  await v.sees(/^\s*Retry queued/);
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/destinations/inbox`);
  await v.open(`/t/${tenant}/destinations/inbox/settings`);
  await v.open(`/t/${tenant}/destinations/inbox/test`);
  await v.open(`/t/${tenant}/settings`);

  await v.context.clearCookies();
  await v.open(link.slice(site.base.length), { status: 404 });
  await v.follow(/^Go to the/);
  assert.equal(v.path, '/login');
});

journey(site, 'an API key is made, shown once and revoked', async (v) => {
  const tenant = await site.tenant();
  const call = (key, path) => fetch(`${site.base}/api/v1${path}`, { headers: { authorization: `Bearer ${key}` } }).then((a) => a.status);
  for (const base of ['', `/t/${tenant}`]) {
    const name = `key ${base} ${v.js}`;
    await v.open(`${base}/api-keys`);
    await v.follow('Create API key');
    await v.main.getByRole('checkbox', { name: /^Publish/ }).uncheck();
    await v.press('Create API key', { status: 422 });
    await v.sees('There is a problem');
    await v.isRefused('name', /is required/);
    await v.field('Name').fill(name);
    await v.main.getByRole('checkbox', { name: /^Read/ }).check();
    await v.press('Create API key');
    const key = await v.page.locator('#new-key').textContent();
    assert.equal(await call(key, `/tenants/${tenant}`), 200);
    assert.equal(await call(key, '/tenants/demo'), base ? 404 : 200);
    await v.follow('Continue');
    assert.equal(v.path, `${base}/api-keys`);
    assert.ok(!(await v.page.content()).includes(key), 'the key is shown again');
    await v.follow('Revoke', { within: v.row(name) });
    await v.sees(/It was last used on/);
    await v.press('Revoke key');
    await v.sees('The key was revoked.');
    await v.sees('Revoked', v.row(name));
    assert.equal(await call(key, `/tenants/${tenant}`), 401);
  }
});

journey(site, 'many tenants are searched and paged through', async (v) => {
  const prefix = `many-${v.js}`;
  for (let i = 0; i < 12; i++) await site.api('PUT', `/tenants/${prefix}-${i}`, {});
  await v.open('/tenants');
  await v.main.getByRole('searchbox').fill(prefix);
  await v.press('Search');
  const names = () => v.main.locator('tbody tr td.c a').allInnerTexts();
  assert.equal((await names()).length, 12);
  await v.open(`/tenants?q=${prefix}&limit=5`);
  const seen = await names();
  while (await v.link('Next').count() > 0) {
    await v.follow('Next');
    seen.push(...await names());
  }
  assert.equal(new Set(seen).size, 12);
  assert.equal(seen.length, 12);
  await v.open('/tenants?q=nobody-is-called-this');
  await v.sees('No tenant matches');
  await v.open('/tenants/new');
  await v.field('Tenant ID').fill('no/slashes please');
  await v.press('Create tenant', { status: 422 });
  await v.isRefused('tenant_id', /may hold/);
});

journey(site, 'shortcuts, and copying', { js: true }, async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'inbox' });
  await v.open(`/t/${tenant}/destinations`);
  const search = v.main.getByRole('searchbox');
  await v.page.keyboard.press('/');
  await v.hasFocus(search);
  await v.page.keyboard.type('a/b');
  assert.equal(await search.inputValue(), 'a/b');
  await v.open(`/t/${tenant}/settings`);
  await v.main.getByRole('checkbox', { name: 'Keyboard shortcuts' }).uncheck();
  await v.press('Save preferences');
  await v.open(`/t/${tenant}/destinations`);
  await v.page.keyboard.press('/');
  assert.equal(await search.evaluate((e) => e === document.activeElement), false);

  await v.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await v.open(`/t/${tenant}/destinations/inbox`);
  await v.button('Copy destination id').click();
  await v.page.locator('#said').filter({ hasText: 'Copied' }).waitFor({ state: 'attached' });
  assert.equal(await v.page.evaluate(() => navigator.clipboard.readText()), 'inbox');
  await v.main.locator('summary', { hasText: 'API for this page' }).click();
  await v.button('Copy API call').click();
  await v.page.waitForFunction(async () => (await navigator.clipboard.readText()).startsWith('curl '));
});

journey(site, 'a first visit stays small and does not jump', { js: true }, async (v) => {
  const { tenant } = await crowd();
  for (const path of [`/t/${tenant}`, `/t/${tenant}/events`]) {
    await v.page.goto(path, { waitUntil: 'load' });
    const [bytes, shift] = await v.page.evaluate(async () => {
      const observer = new PerformanceObserver(() => {});
      observer.observe({ type: 'layout-shift', buffered: true });
      for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
      const sum = (list, key) => list.reduce((n, e) => n + e[key], 0);
      const loaded = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
      return [sum(loaded, 'encodedBodySize'), sum(observer.takeRecords(), 'value')];
    });
    assert.ok(bytes < 60 * 1024, `${path}: ${bytes} bytes`);
    assert.equal(shift, 0, `${path}: layout shift`);
  }
});

// The catalogue of topics is one for the whole server, so it has a server of its own.
const catalogue = await openSite({ env: { TOPICS: 'order.created,order.paid' } });

journey(catalogue, 'the catalogue of topics', async (v) => {
  const tenant = await catalogue.tenant();
  const topic = `user.signed_up.${v.js}`;
  await v.open(`/t/${tenant}/topics`);
  await v.sees('Environment', v.row('order.created'));
  assert.equal(await v.row('order.created').getByRole('link', { name: /^Delete/ }).count(), 0);
  await v.field('Name').fill('not a topic');
  await v.field('Example payload').fill('{"plan": ');
  await v.press('Save topic', { status: 422 });
  await v.sees('There is a problem');
  assert.equal(await v.field('Example payload').inputValue(), '{"plan": ');
  await v.field('Name').fill(topic);
  await v.field('Description').fill('Somebody has signed up.');
  await v.field('Example payload').fill('{"plan": "pro"}');
  await v.press('Save topic');
  await v.sees('Somebody has signed up.', v.row(topic));

  // Destinations choose from it, test events begin with its example, and nothing else can be published.
  await v.open(`/t/${tenant}/destinations/new?type=echo`);
  await v.main.getByRole('radio', { name: 'Only these:' }).check();
  await v.press('Create destination', { status: 422 });
  await v.sees('There is a problem');
  if (v.js) {
    await v.main.getByRole('checkbox', { name: 'Check all' }).check();
    assert.ok(await v.main.getByRole('checkbox', { name: 'order.paid' }).isChecked());
    await v.main.getByRole('checkbox', { name: 'Check all' }).uncheck();
  }
  await v.main.getByRole('checkbox', { name: topic }).check();
  await v.press('Create and send test event');
  assert.match(await v.field('Payload').inputValue(), /"plan": "pro"/);
  await v.press('Send test event');
  await v.sees('Succeeded');
  await assert.rejects(catalogue.publish(tenant, { topic: 'unknown.topic' }), /422/);

  await v.open(`/t/${tenant}/topics`);
  await v.follow(/^Delete/, { within: v.row(topic) });
  await v.press('Delete topic');
  assert.equal(await v.row(topic).count(), 0);
});

// Programs built for development show every component in every state.
const gallery = await (async () => {
  let bin = process.env.WAYBILL_BIN;
  if (!bin || execFileSync(bin, ['version'], { encoding: 'utf8' }).trim() !== 'dev') {
    bin = join(root, 'bin', 'waybill-dev');
    execFileSync('go', ['build', '-trimpath', '-buildvcs=false', '-o', bin, '.'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return openSite({ bin });
})();

journey(gallery, 'all components in all states', { loggedIn: false }, async (v) => {
  await v.open('/dev/components');
});
