// Copies the scripts that pages load from the npm packages into static/, from where they are embedded. They are committed
// like all generated files. To take a new version, change package.json and run `make generate`.
import { copyFile } from 'node:fs/promises';

const root = new URL('../', import.meta.url);

for (const [from, to] of [
  ['htmx.org/dist/htmx.min.js', 'static/htmx.min.js'],
]) {
  await copyFile(new URL(`node_modules/${from}`, root), new URL(to, root));
}
