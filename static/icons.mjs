// Makes icons.svg, the one file that holds every icon of the dashboard, from the Lucide icons of the npm package. The
// result is committed; run `node static/icons.mjs` after changing the list.
import { readFile, writeFile } from 'node:fs/promises';

// Keep the list in alphabetical order. views/icon_test.go fails when a page uses an icon that is not here.
const names = [
  'activity', 'arrow-down', 'arrow-right', 'arrow-up', 'ban', 'bell', 'bell-off', 'building-2', 'check', 'chevron-down', 'chevron-left',
  'chevron-right', 'circle-alert', 'circle-check', 'circle-slash', 'circle-x', 'clock', 'copy', 'download', 'ellipsis', 'external-link', 'eye', 'funnel',
  'gauge', 'inbox', 'info',
  'key-round', 'log-out', 'pause', 'pencil', 'plug-zap', 'plus', 'power', 'power-off', 'refresh-cw', 'rotate-ccw', 'scroll-text', 'search',
  'send', 'settings', 'skip-forward', 'tags', 'terminal', 'trash-2', 'triangle-alert', 'users', 'waypoints', 'x',
];

// The mark of the project: a label with a hole and two lines of text.
const waybill = `<path d="M12.6 2.6 20 6.9a2 2 0 0 1 1 1.7V19a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V8.6a2 2 0 0 1 1-1.7l7.4-4.3a1.2 1.2 0 0 1 1.2 0z"/><circle cx="12" cy="8.5" r="1.25"/><path d="M7.5 13.5h9"/><path d="M7.5 17h5"/>`;

const folder = new URL('../node_modules/lucide-static/icons/', import.meta.url);
let out = '<!-- Icons: Lucide 1.62.0, https://lucide.dev, ISC licence. Made by icons.mjs; do not edit. -->\n<svg xmlns="http://www.w3.org/2000/svg">\n';
const symbol = (name, body) =>
  `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">${body}</symbol>\n`;
for (const name of names) {
  const svg = await readFile(new URL(`${name}.svg`, folder), 'utf8');
  out += symbol(name, svg.match(/<svg[^>]*>([\s\S]*)<\/svg>/)[1].replace(/\s*\n\s*/g, '').trim());
}
out += symbol('waybill', waybill) + '</svg>\n';
await writeFile(new URL('icons.svg', import.meta.url), out);
