// Every page of a site with data, in both themes and at five widths: axe finds nothing (WCAG 2.2 A and AA and what axe calls best
// practice), contrast that it leaves open is enough when computed, and no list scrolls sideways on a window of 1280 px.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allRules, colourRules, graphics, looks, sizeRules } from './axe.mjs';
import { fill, settings } from './filled.mjs';
import { openSite } from './harness.mjs';

// The widths, and whether the page is laid out anew there. Where it is not, what axe finds depends on sizes only.
const widths = new Map([[1440, false], [1280, true], [768, true], [390, true], [320, false]]);
const dark = [1280, 390]; // where all rules are held in dark, too
const site = await openSite({ env: settings });

// sideways are the lists that are wider than their place.
const sideways = () => [...document.querySelectorAll('body *')].filter((e) => e.scrollWidth > e.clientWidth + 1
  && /auto|scroll/.test(getComputedStyle(e).overflowX) && e.checkVisibility()
  && (e.matches('ul, ol, dl') || e.querySelector('table, ul, ol, dl, [role=table], [role=list]')))
  .map((e) => `${e.scrollWidth} px in ${e.clientWidth}: ${e.outerHTML.replace(/\s+/g, ' ').slice(0, 160)}`);

test('every page, in light and dark, from 1440 to 320 px', { timeout: 600_000 }, async () => {
  await site.logIn();
  const pages = Object.entries(await fill(site));
  const found = [];
  // Each of two visitors takes the next page, until there is none.
  await Promise.all([0, 1].map(async () => {
    const [visitor, stranger] = [await site.visitor(), await site.visitor({ loggedIn: false })];
    for (let next = pages.shift(); next; next = pages.shift()) {
      const [name, path] = next;
      const v = name === 'login' ? stranger : visitor;
      const { page } = v;
      const tell = (where, problems) => found.push(...problems.map((p) => `${path} (${name}), ${where}: ${p}`));
      await page.goto(path, { waitUntil: 'load' });
      await page.evaluate(() => { for (const d of document.querySelectorAll('main details:not(.menu)')) d.open = true; });
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        for (const [width, anew] of widths) {
          await page.setViewportSize({ width, height: 900 });
          const where = `${colorScheme}, ${width} px`;
          // A theme changes colours only, which a wide and a narrow window in dark hold all rules against.
          const light = anew ? allRules : sizeRules;
          tell(where, await looks(page, colorScheme === 'light' ? light : dark.includes(width) ? allRules : colourRules));
          if (width !== 1280) continue;
          tell(where, await graphics(page));
          if (colorScheme === 'light') tell(where, (await page.evaluate(sideways)).map((s) => `scrolls sideways: ${s}`));
        }
      }
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, forcedColors: 'active' });
        await page.setViewportSize({ width: 1280, height: 900 });
        tell(`forced colours, ${colorScheme}`, await graphics(page));
      }
      await page.emulateMedia({ forcedColors: 'none' });
      tell('script', v.troubles.splice(0));
    }
    await Promise.all([visitor, stranger].map((v) => v.context.close()));
  }));
  assert.ok(found.length === 0, found.join('\n'));
});

test('with the colours of the system, the page, the row and the choice of now are told apart, and so is the focus', { timeout: 300_000 }, async () => {
  const tenant = await site.tenant('forced');
  await site.destination(tenant, { id: 'inbox' });
  await site.destination(tenant, { id: 'bad', config: { answer: '500' }, retry: { schedule: ['1ms'] } }); // so there are two tries
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  const v = await site.visitor();
  const { page } = v;
  await page.emulateMedia({ forcedColors: 'active' });
  await page.goto(`/t/${tenant}/events?event=${id}`);
  // line is how an element is drawn around and below, as one sees it.
  const line = (e) => {
    const s = getComputedStyle(e);
    const outline = s.outlineStyle === 'none' ? 'none' : `${s.outlineWidth} ${s.outlineStyle} ${s.outlineColor}`;
    return `${outline}, ${s.borderBottomColor}`;
  };
  const drawn = (locator) => locator.first().evaluate(line);
  for (const [current, other] of [['.rail-link[aria-current]', '.rail-link:not([aria-current])'], ['.tab[aria-current]', '.tab:not([aria-current])'],
    ['.views a[aria-current]', '.views a:not([aria-current])'], ['tr[aria-selected="true"]', 'thead tr'], ['.why[aria-current]', '.why:not([aria-current])'],
    ['.try[aria-current]', '.try:not([aria-current])']]) {
    assert.notEqual(await drawn(page.locator(current)), await drawn(page.locator(other)), `${current} looks like any other`);
  }
  await page.locator('#f-q').focus(); // from here on, by keyboard
  await page.keyboard.press('Tab');
  for (const current of ['.rail-link[aria-current]', '.tab[aria-current]', '.views a[aria-current]']) {
    const width = () => page.locator(current).first().evaluate((e) => {
      const style = getComputedStyle(e);
      return style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth);
    });
    const before = await width();
    await page.locator(current).first().focus();
    assert.ok(await width() > before, `the focus on ${current} is not seen`);
  }
  await v.context.close();
});
