// How the whole server is, and what it is set to, for its operators.
import assert from 'node:assert/strict';
import { journey, openSite, phone } from './harness.mjs';

const site = await openSite({ env: { RETRY_SCHEDULE: '1s,5m' } });

for (const size of [undefined, phone]) {
  journey(site, `an operator sees how the server is${size ? ', on a phone' : ''}`, size ? { size, js: true } : {}, async (v) => {
    await v.open('/tenants');
    await v.follow('Server health', { within: v.page.getByRole('navigation', { name: 'Main' }) });
    assert.equal(v.path, '/server');
    await v.sees('Worker processes');
    await v.page.locator('#processes').getByText('Alive', { exact: true }).waitFor();
    await v.sees('First attempts');
    await v.page.locator('#database').getByText('PostgreSQL', { exact: true }).waitFor();

    // One line says how it is, and there is a tick only where nothing is wrong.
    const verdict = await v.main.locator('#findings-title').innerText();
    const wrong = await v.main.getByText(/^(Wrong|Worth a look)$/).count();
    assert.match(verdict, wrong > 0 ? /^\d+ findings?$/ : /^(All well|No findings)$/);
    if (wrong === 0) assert.equal(verdict, 'All well');

    await v.follow('Settings', { within: v.page.getByRole('navigation', { name: 'Server' }) });
    assert.equal(v.path, '/server/settings');
    const row = (name) => v.main.locator('tr').filter({ has: v.page.getByText(name, { exact: true }) });
    assert.match(await row('RETRY_SCHEDULE').innerText(), /1s,5m\s+Environment/);
    assert.match(await row('RETENTION_DAYS').innerText(), /30\s+30 days\s+Default/);
    assert.match(await row('SECRET_KEY').innerText(), /\bset\b/);
    await v.main.getByRole('searchbox').fill('retention');
    await v.press('Search');
    await v.sees('RETENTION_DAYS');
    assert.equal(await row('RETRY_SCHEDULE').count(), 0);
  });
}

journey(site, 'an operator changes a default while the server runs, and takes it back', {}, async (v) => {
  await v.open('/server');
  await v.follow('Defaults', { within: v.page.getByRole('navigation', { name: 'Server' }) });
  assert.equal(v.path, '/server/defaults');
  const setting = (name) => v.main.locator(`[data-setting=${name}]`);
  assert.match(await setting('retry_schedule').innerText(), /1 s, 5 min · Environment/);
  await v.field('Timeout of an attempt').fill('soon');
  await v.press('Save settings', { status: 422 });
  await v.sees('There is a problem');
  assert.equal(await v.field('Timeout of an attempt').inputValue(), 'soon');
  await v.field('Timeout of an attempt').fill('5s');
  await v.press('Save settings');
  await v.sees('The settings were saved.');
  assert.match(await setting('delivery_timeout').innerText(), /5 s · Set by page or API[\s\S]*Default: 15 s[\s\S]*Changed by/);
  await v.arrives(() => setting('delivery_timeout').getByRole('button', { name: 'Reset' }).click());
  await v.sees('15 s · Default');
  assert.equal(await v.field('Timeout of an attempt').inputValue(), '');
  await v.open('/audit');
  assert.ok(await v.main.getByRole('table').getByText("Server's defaults changed").count() >= 2);
});
