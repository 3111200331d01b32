// What axe finds on a page, and the contrast of what axe leaves open, by computing it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
export const allRules = { type: 'tag', values: tags };
// Of these the outcome depends on colours; of those on the window, too.
export const colourRules = { type: 'rule', values: ['color-contrast', 'link-in-text-block'] };
export const sizeRules = { type: 'rule', values: [...colourRules.values, 'target-size', 'scrollable-region-focusable'] };

// looks returns what is wrong with a page as it is now, in words; nothing when nothing is.
export async function looks(page, runOnly = allRules) {
  if (!(await page.evaluate(() => 'axe' in window))) {
    await page.evaluate(source); // not as a script element, which the pages' policy refuses
    await page.evaluate(defineContrast);
  }
  return page.evaluate(async (only) => {
    const { violations, incomplete } = await window.axe.run(document, { runOnly: only, resultTypes: ['violations', 'incomplete'] });
    const found = violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.map((n) => `    ${n.html.slice(0, 200)}\n      ${n.failureSummary.replace(/\s*\n\s*/g, ' ')}`).join('\n')}`);
    const low = incomplete.filter((v) => v.id === 'color-contrast').flatMap((v) => v.nodes)
      .flatMap((n) => window.contrast.ofText(document.querySelector(n.target.at(-1))));
    return low.length > 0 ? [...found, `computed contrast:\n    ${low.join('\n    ')}`] : found;
  }, runOnly);
}

// graphics returns the marks, bars, lines and borders that say something and do not stand out by 3:1.
export async function graphics(page) {
  if (!(await page.evaluate(() => 'contrast' in window))) await page.evaluate(defineContrast);
  return page.evaluate(() => window.contrast.ofGraphics());
}

// defineContrast runs in the page.
function defineContrast() {
  const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  // rgba of a computed colour: red, green and blue from 0 to 255, alpha from 0 to 1.
  const rgba = (text) => {
    const plain = text.match(/^rgba?\(([\d.]+),? ([\d.]+),? ([\d.]+)(?:(?:,| \/) ([\d.]+))?\)$/);
    if (plain) return [+plain[1], +plain[2], +plain[3], plain[4] === undefined ? 1 : +plain[4]];
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = '#00000001';
    context.fillStyle = text; // oklch(), color() and the like; what is no colour is refused
    if (context.fillStyle === '#00000001') throw new Error(`no colour: ${text}`);
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, ground) => {
    const a = top[3] + ground[3] * (1 - top[3]);
    return a === 0 ? [0, 0, 0, 0] : [...[0, 1, 2].map((i) => (top[i] * top[3] + ground[i] * ground[3] * (1 - top[3])) / a), a];
  };
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((x) => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  // layers are what one element paints behind its content: its background, the stops of a gradient each as a ground of its
  // own, and the background of what lies around its content (::before, ::after).
  const layers = (e) => {
    const style = getComputedStyle(e);
    const colours = [style.backgroundColor];
    if (style.backgroundImage.includes('gradient(')) colours.push(...style.backgroundImage.match(/(rgba?|color|oklch|oklab)\([^()]*\)/g));
    for (const pseudo of ['::before', '::after']) {
      const p = getComputedStyle(e, pseudo);
      if (!['none', 'normal'].includes(p.content) && p.position === 'absolute') colours.push(p.backgroundColor);
    }
    return colours.map(rgba).filter((c, i) => i === 0 || c[3] > 0);
  };
  // grounds are what may be behind an element: from it up to the first that lets nothing shine through.
  const grounds = (e) => {
    let stacks = [[0, 0, 0, 0]];
    for (let x = e; x; x = x.parentElement) {
      const [own, ...others] = layers(x);
      const behind = others.length > 0 ? [own, ...others.map((c) => over(c, own))] : [own];
      stacks = stacks.flatMap((s) => (s[3] === 1 ? [s] : behind.map((c) => over(s, c))));
      if (stacks.every((s) => s[3] === 1)) break;
    }
    const canvas = matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
    return stacks.map((s) => over(s, canvas));
  };
  const opacity = (e) => {
    let all = 1;
    for (let x = e; x; x = x.parentElement) all *= +getComputedStyle(x).opacity;
    return all;
  };
  const worst = (e, colour, behind) => {
    const c = rgba(colour);
    return Math.min(...behind.map((g) => ratio(over([...c.slice(0, 3), c[3] * opacity(e)], g), g)));
  };
  const html = (e) => e.outerHTML.replace(/\s+/g, ' ').slice(0, 160);
  const seen = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && [...e.getClientRects()].some((r) => r.width > 0 && r.height > 0);
  const low = (e, colour, least, behind = grounds(e)) => {
    const got = worst(e, colour, behind);
    return got < least ? [`${got.toFixed(2)}, ${least} at least: ${colour} on ${behind.map((g) => `rgb(${g.slice(0, 3).map(Math.round)})`).join(', ')}: ${html(e)}`] : [];
  };
  window.contrast = {
    ofText(e) {
      if (!seen(e)) return [];
      const style = getComputedStyle(e);
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && +style.fontWeight >= 700);
      return low(e, style.color, large ? 3 : 4.5);
    },
    ofGraphics() {
      const found = [];
      // Marks of states and the drawings of charts, whose shapes say something.
      for (const shape of document.querySelectorAll('.st svg *, .pill svg *, .chart svg rect, .spark, .legend .sw *, .stage svg rect')) {
        if (!seen(shape) || shape.matches('.hit, .brush, .b-hatch, .b-off, defs *, pattern *')) continue;
        const { fill, stroke } = getComputedStyle(shape);
        const behind = grounds(shape.closest('svg'));
        const each = [fill, stroke].filter((c) => c !== 'none' && !c.startsWith('url(') && rgba(c)[3] > 0);
        const all = each.map((c) => low(shape, c, 3, behind));
        if (all.length > 0 && all.every((x) => x.length > 0)) found.push(...all[0]); // one that stands out is enough
      }
      // What bounds a field of a form.
      for (const field of document.querySelectorAll('.input')) {
        if (seen(field)) found.push(...low(field, getComputedStyle(field).borderTopColor, 3, grounds(field.parentElement)));
      }
      return found;
    },
  };
}
