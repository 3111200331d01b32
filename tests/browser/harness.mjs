// What browser journeys have in common: a server of their own, a browser, and visitors whose every page is checked.
//
// CHROMIUM names the browser and WAYBILL_BIN the program; without them scripts/ensure-chromium.sh is asked, and the
// program is built.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { root, startServer } from '../lib/server.mjs';
import { allRules, looks, sizeRules } from './axe.mjs';

export { eventually } from '../lib/server.mjs';

export const wide = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };
const narrow = { width: 320, height: 640 };

export const admin = { name: 'Ann Example', email: 'ann@example.com', password: 'a long sentence is fine' };

const patience = 60_000;

export function launch() {
  const executablePath = process.env.CHROMIUM || execFileSync(join(root, 'scripts/ensure-chromium.sh'), { encoding: 'utf8' }).trim();
  // Root has no sandbox to offer, and containers have a small /dev/shm.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
}

let theBrowser; // one for all servers of a file

// openSite starts what a file of journeys needs, and ends it after them. It is for the top of a file.
export async function openSite(options) {
  theBrowser ??= launch();
  const [server, browser] = await Promise.all([startServer(options), theBrowser]);
  after(async () => {
    await browser.close();
    await server.stop();
  });
  const checked = new Set(); // pages that axe has seen already
  let session;

  const site = {
    ...server,
    get setupCode() { return server.setupCode; },
    // logIn makes the first user, once, and returns the cookie of their session.
    async logIn() {
      session ??= (async () => {
        const body = new URLSearchParams({ ...admin, code: server.setupCode });
        const answer = await fetch(`${server.base}/setup`, { method: 'POST', body, redirect: 'manual' });
        const cookie = answer.headers.getSetCookie().find((c) => c.startsWith('waybill_session='));
        assert.ok(cookie, `the set-up answered ${answer.status}: ${await answer.text()}`);
        return cookie.split(';')[0].slice('waybill_session='.length);
      })();
      return session;
    },
    // visitor is somebody with a browser of their own, logged in unless told otherwise.
    async visitor({ js = true, loggedIn = true, size = wide, timezone = 'UTC' } = {}) {
      const context = await browser.newContext({
        baseURL: server.base, javaScriptEnabled: js, viewport: size, colorScheme: 'light', locale: 'en-GB', timezoneId: timezone,
      });
      context.setDefaultTimeout(patience);
      if (loggedIn) await context.addCookies([{ name: 'waybill_session', value: await site.logIn(), url: server.base, httpOnly: true, sameSite: 'Lax' }]);
      return new Visitor(site, context, await context.newPage(), { js, size, checked });
    },
  };
  return site;
}

// journey is a test with a visitor. It runs with JavaScript and without, unless told otherwise: the same must be possible.
export function journey(site, name, options, body = options) {
  for (const js of options.js === undefined ? [true, false] : [options.js]) {
    const mode = options.js === undefined ? `, ${js ? 'with' : 'without'} JavaScript` : '';
    test(name + mode, { timeout: 300_000 }, async () => {
      const visitor = await site.visitor({ ...options, js });
      try {
        await body(visitor, { js });
        visitor.assertQuiet();
      } catch (error) {
        error.stack += `\n${await visitor.whereabouts()}`;
        throw error;
      } finally {
        await visitor.context.close();
      }
    });
  }
}

// Visitor looks at pages as somebody would, and checks each.
export class Visitor {
  constructor(site, context, page, { js, size, checked }) {
    Object.assign(this, { site, context, page, js, size, checked, status: 0, troubles: [] });
    page.on('response', (answer) => {
      const request = answer.request();
      if (request.isNavigationRequest() && request.frame() === page.mainFrame()) this.status = answer.status();
    });
    page.on('console', (message) => {
      if (message.type() === 'error' && !this.#isRefusal(message)) this.troubles.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => this.troubles.push(`script: ${error.message}`));
    context.on('request', (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== 'data:' && origin !== site.base && !site.others?.includes(origin)) this.troubles.push(`request to another origin: ${request.url()}`);
    });
  }

  // The browser itself reports a page that was answered with an error, such as a refused form.
  #isRefusal(message) {
    return /^Failed to load resource: .* status of (4\d\d)/.test(message.text()) && message.location().url === this.page.url();
  }

  get path() {
    return this.page.url().slice(this.site.base.length);
  }

  // open goes to an address and checks the page there.
  async open(path, { status = 200 } = {}) {
    await this.page.goto(path, { waitUntil: 'load' });
    await this.check({ status });
  }

  // arrives does something that leads to another page, and checks that page.
  async arrives(act, { status = 200 } = {}) {
    const loaded = this.page.waitForEvent('load');
    loaded.catch(() => {}); // told below, unless the act fails first
    await act();
    await loaded;
    await this.check({ status });
  }

  // follow clicks a link, press a button, that leads to another page.
  follow(name, options = {}) { return this.arrives(() => this.link(name, options).click(), options); }
  // openRow leads from a row of a list to the page of what it shows. With JavaScript on a wide window a row opens beside the list.
  async openRow(name) {
    const row = this.link(name, { within: this.main.getByRole('table') });
    if (!this.js || this.size.width < 1024) return this.arrives(() => row.click());
    await row.click();
    return this.follow('Open the whole page', { within: this.page.locator('#inspect') });
  }

  press(name, options = {}) { return this.arrives(() => this.button(name, options).click(), options); }

  // The elements of a page, as people know them. They are looked for in main unless within says where.
  get main() { return this.page.getByRole('main'); }
  link(name, { within = this.main, exact = false } = {}) { return within.getByRole('link', { name, exact }).first(); }
  button(name, { within = this.main, exact = false } = {}) { return within.getByRole('button', { name, exact }); }
  field(label) { return this.main.getByLabel(new RegExp(`^\\s*${label}`)).and(this.main.locator('input, textarea, select')); }
  get heading() { return this.page.getByRole('heading', { level: 1 }); }
  get banner() { return this.main.locator('.banner'); }
  fact(label, within = this.main) { return within.locator('dt', { hasText: new RegExp(`^\\s*${label}\\s*$`) }).locator('xpath=following-sibling::dd[1]'); }
  row(text, within = this.main) { return within.getByRole('row').filter({ hasText: text }); }

  async sees(text, within = this.main) {
    await within.getByText(text).first().waitFor({ state: 'visible' });
  }

  // hasFocus waits until an element has the focus.
  async hasFocus(locator) {
    const element = await locator.elementHandle();
    await this.page.waitForFunction((e) => e === e.ownerDocument.activeElement || e.contains(e.ownerDocument.activeElement), element);
  }

  // isRefused tells that a form came back: with a summary that has the focus and names the problem beside the field, too.
  async isRefused(field, problem) {
    assert.equal(this.status, 422);
    assert.match(await this.page.title(), /^Error: /);
    const summary = this.main.locator('.banner', { has: this.page.getByRole('alert') });
    await this.hasFocus(summary);
    const line = summary.getByRole('link').filter({ hasText: problem });
    const control = this.page.locator(await line.getAttribute('href'));
    assert.equal(await control.getAttribute('aria-invalid'), 'true');
    const described = (await control.getAttribute('aria-describedby')).split(' ');
    const texts = await Promise.all(described.map((id) => this.page.locator(`[id="${id}"]`).textContent()));
    assert.ok(texts.some((t) => problem.test(t)), `${texts} does not say ${problem}`);
    await line.click();
    await this.hasFocus(control);
    assert.equal(await control.getAttribute('name'), field);
  }

  // settles waits for a page that refreshes itself to be done with it. Without JavaScript that takes a click, again and again.
  async settles() {
    const waiting = this.main.getByText(/^(An attempt is under way|No attempt has ended yet)/);
    if (this.js) {
      await waiting.waitFor({ state: 'detached' });
    } else {
      while (await waiting.count() > 0) await this.follow('Refresh');
    }
    await this.check();
  }

  // check is what every page must stand.
  async check({ status = 200 } = {}) {
    const { page } = this;
    const where = `${this.path}: `;
    assert.equal(this.status, status, `${where}status`);
    const facts = await page.evaluate(() => {
      const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
      return {
        title: document.title.trim(),
        headings: document.querySelectorAll('h1').length,
        twice: ids.filter((id, i) => ids.indexOf(id) !== i),
        mains: document.querySelectorAll('main').length,
        inline: [...document.querySelectorAll('[style], style, script:not([src])')].map((e) => e.outerHTML.slice(0, 80)),
        twin: document.querySelector('link[rel=alternate][type="application/json"]')?.getAttribute('href'),
        // What a page is made of, however often. Pages that do not differ in it do not differ for axe, either.
        shape: [...new Set([...document.querySelectorAll('body *')].map((e) => {
          const kind = (x) => `${x.tagName}.${x.getAttribute('class')}`;
          const attributes = [...e.attributes].filter((a) => /^(aria-|role$|type$|tabindex|open$|for$|alt$|title$|data-theme)/.test(a.name))
            .map((a) => (/^(role|type|tabindex|aria-(current|hidden|invalid|pressed|sort))$/.test(a.name) ? `${a.name}=${a.value}` : a.name));
          return `${kind(e.parentElement)}>${kind(e)}[${attributes}]`;
        }))].sort().join('\n') + document.documentElement.getAttribute('data-theme'),
      };
    });
    assert.notEqual(facts.title, '', `${where}title`);
    const tenant = this.path.match(/^\/t\/([^/?#]+)/)?.[1];
    if (tenant && status === 200) assert.ok(facts.title.includes(decodeURIComponent(tenant)), `${where}the title ${facts.title} does not tell the tenant`);
    assert.equal(facts.headings, 1, `${where}h1`);
    assert.equal(facts.mains, 1, `${where}main`);
    assert.deepEqual(facts.twice, [], `${where}ids that are not unique`);
    assert.deepEqual(facts.inline, [], `${where}inline scripts or styles`);
    await this.fits(where);
    if (this.js && !this.checked.has(facts.shape)) {
      this.checked.add(facts.shape);
      await this.axe(where);
    }
    if (facts.twin && status === 200) await this.hasTwin(facts.twin, where);
    this.assertQuiet(where);
  }

  // fits: no page is wider than the screen, be it that of a small phone. A table may scroll within it.
  async fits(where) {
    for (const size of [narrow, this.size]) {
      await this.page.setViewportSize(size);
      const [content, screen, wide] = await this.page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        const beyond = scrollWidth > clientWidth ? [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > clientWidth) : [];
        return [scrollWidth, clientWidth, beyond.slice(0, 5).map((e) => e.outerHTML.slice(0, 120))];
      });
      assert.ok(content <= screen, `${where}${content} px wide on a screen of ${size.width} px:\n${wide.join('\n')}`);
    }
  }

  // axe looks at the page in light on a wide screen, and on a phone in dark at what depends on colours and sizes.
  async axe(where) {
    const { page } = this;
    for (const [colorScheme, size, runOnly] of [['light', wide, allRules], ['dark', phone, sizeRules]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(size);
      const found = await looks(page, runOnly);
      assert.ok(found.length === 0, `${where}axe, ${colorScheme}, ${size.width} px:\n${found.join('\n')}`);
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(this.size);
  }

  // hasTwin: the call of the API that a page names does answer.
  async hasTwin(twin, where) {
    const path = twin.replace(/^\/api\/v1/, '');
    await assert.doesNotReject(this.site.api('GET', path), `${where}the page's API call ${twin}`);
  }

  assertQuiet(where = '') {
    const troubles = this.troubles.splice(0);
    assert.ok(troubles.length === 0, `${where}${troubles.join('\n')}`);
  }

  // whereabouts are added to failures.
  async whereabouts() {
    const text = await this.page.locator('main').innerText({ timeout: 1000 }).catch(() => 'no main');
    return `The page was ${this.page.url()} (${this.status}):\n${text.slice(0, 1500).replace(/^/gm, '  | ')}`;
  }
}
