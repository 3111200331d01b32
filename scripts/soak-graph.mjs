// Draws the rows of a soak (`waybill bench -case soak -out soak.csv`) as an SVG that is readable on light and dark pages:
//
//   node scripts/soak-graph.mjs soak.csv > docs/soak.svg
import { readFileSync } from 'node:fs';

const fail = (why) => {
  console.error(why);
  process.exit(2);
};
const file = process.argv[2] ?? fail('usage: node scripts/soak-graph.mjs soak.csv > docs/soak.svg');
const [header, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
const names = header.split(',');
const rows = lines.map((line) => Object.fromEntries(line.split(',').map((cell, i) => [names[i], Number(cell)])));
if (rows.length < 2) fail(`${file} has ${rows.length} rows; a graph needs two`);

const MiB = 2 ** 20;
const column = (name, unit = 1) => {
  if (!names.includes(name)) fail(`${file} has no column ${name}`);
  return rows.map((row) => row[name] / unit);
};
const charts = [
  { title: 'Rate', unit: 'a second', series: [{ name: 'accepted', values: column('accepted_per_s') }, { name: 'delivered', values: column('delivered_per_s') }] },
  { title: 'Latency, end to end', unit: 'ms', series: [{ name: 'p50', values: column('e2e_p50_ms') }, { name: 'p99', values: column('e2e_p99_ms') }] },
  { title: 'Memory (PSS)', unit: 'MiB', series: [{ name: 'server', values: column('server_mib') }, { name: 'PostgreSQL', values: column('postgres_mib') }] },
  { title: 'Size of river_job, with indexes', unit: 'MiB', series: [{ name: 'size', values: column('job_bytes', MiB) }] },
  { title: 'Rows of river_job', unit: 'rows', series: [{ name: 'living', values: column('job_rows') }, { name: 'dead', values: column('job_dead_rows') }] },
];

const width = 900;
const left = 72;
const right = 20;
const top = 40; // of a chart: its title and legend
const height = 84; // of its plot
const gap = 12; // below it
const foot = 44;
const total = charts.length * (top + height + gap) + foot;

// ticks are round numbers from 0 to at least max, three to five of them.
const ticks = (max) => {
  const rough = (max || 1) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const count = Math.max(1, Math.ceil(max / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6)));
};
const number = (n) => n.toLocaleString('en', { maximumFractionDigits: 2 });
const point = (n) => n.toFixed(1).replace(/\.0$/, '');

const end = column('seconds').at(-1);
const inMinutes = end > 180;
const span = inMinutes ? 60 : 1;
const x = (seconds) => left + (seconds / end) * (width - left - right);
const steps = [1, 2, 5, 10, 15, 20, 30, 60, 120, 240, 360, 720, 1440];
const step = steps.find((s) => end / span / s <= 10) ?? steps.at(-1);
const times = Array.from({ length: Math.floor(end / span / step + 1e-3) + 1 }, (_, i) => i * step);

const out = [];
charts.forEach(({ title, unit, series }, i) => {
  const from = i * (top + height + gap) + top;
  const marks = ticks(Math.max(...series.flatMap((s) => s.values)));
  const y = (value) => from + height - (value / marks.at(-1)) * height;
  out.push(`<text class="title" x="${left}" y="${from - 14}">${title} <tspan class="unit">(${unit})</tspan></text>`);
  for (const time of times) out.push(`<path class="grid" d="M${point(x(time * span))} ${from}v${height}"/>`);
  for (const mark of marks) {
    out.push(`<path class="grid" d="M${left} ${point(y(mark))}H${width - right}"/>`, `<text class="value" x="${left - 8}" y="${point(y(mark) + 4)}">${number(mark)}</text>`);
  }
  series.forEach(({ name, values }, k) => {
    const path = values.map((value, n) => `${n ? 'L' : 'M'}${point(x(rows[n].seconds))} ${point(y(value))}`).join('');
    out.push(`<path class="line s${k}" d="${path}"/>`);
    if (series.length === 1) return;
    const at = width - right - (series.length - k) * 110;
    out.push(`<path class="line s${k}" d="M${at} ${from - 18}h22"/>`, `<text x="${at + 28}" y="${from - 14}">${name}</text>`);
  });
});
const below = charts.length * (top + height + gap);
for (const time of times) out.push(`<text class="time" x="${point(x(time * span))}" y="${below + 6}">${time}</text>`);
out.push(`<text class="time unit" x="${(left + width - right) / 2}" y="${below + 28}">${inMinutes ? 'minutes' : 'seconds'}</text>`);

process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${total}" width="${width}" height="${total}" role="img" aria-labelledby="title">
<title id="title">A soak: rate, latency, memory and the job table over ${inMinutes ? `${Math.round(end / 60)} minutes` : `${Math.round(end)} seconds`}</title>
<style>
  svg { color-scheme: light dark; --page: #fff; --ink: #1f2328; --soft: #59636e; --grid: #d8dee4; --s0: #0969da; --s1: #bc4c00 }
  @media (prefers-color-scheme: dark) { svg { --page: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --grid: #30363d; --s0: #4493f8; --s1: #f0883e } }
  .page { fill: var(--page) } text { fill: var(--ink); font: 13px system-ui, sans-serif } .title { font-weight: 600 }
  .unit, .value, .time { fill: var(--soft); font-weight: 400 } .value { text-anchor: end; font-size: 12px } .time { text-anchor: middle; font-size: 12px }
  .grid { stroke: var(--grid); fill: none } .line { fill: none; stroke-width: 1.75; stroke-linejoin: round } .s0 { stroke: var(--s0) } .s1 { stroke: var(--s1) }
</style>
<rect class="page" width="${width}" height="${total}"/>
${out.join('\n')}
</svg>
`);
