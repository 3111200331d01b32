// Every page of a site with data, in both themes and at five widths: axe finds nothing (WCAG 2.2 A and AA and what axe calls best
// practice), contrast that it leaves open is enough when computed, and no list scrolls sideways on a window of 1280 px.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allRules, colourRules, graphics, looks, sizeRules } from './axe.mjs';
import { fill, settings } from './filled.mjs';
import { openSite } from './harness.mjs';

// The widths, and whether the page is laid out anew there. Where it is not, what axe finds depends on sizes only.
const widths = new Map([[1440, false], [1280, true], [768, true], [390, true], [320, false]]);
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
          const rules = anew ? allRules : sizeRules;
          tell(where, await looks(page, colorScheme === 'light' ? rules : colourRules)); // a theme changes colours only
          if (width !== 1280) continue;
          tell(where, await graphics(page));
          if (colorScheme === 'light') tell(where, (await page.evaluate(sideways)).map((s) => `scrolls sideways: ${s}`));
        }
      }
      tell('script', v.troubles.splice(0));
    }
    await Promise.all([visitor, stranger].map((v) => v.context.close()));
  }));
  assert.ok(found.length === 0, found.join('\n'));
});
