// A person's data: what is erased is counted first and not offered again, all that a tenant has is downloaded, topics are kept for less.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { eventually, journey, openSite, phone } from './harness.mjs';

const site = await openSite();

for (const size of [undefined, phone]) {
  journey(site, `events are erased once somebody has seen how many they are${size ? ', on a phone' : ''}`, size ? { size } : {}, async (v) => {
    const tenant = await site.tenant();
    await site.destination(tenant, { id: 'good', name: 'Good' });
    const { id } = await site.publish(tenant, { data: { email: 'ann@example.com' } });
    await site.publish(tenant, { data: { email: 'bob@example.com' } });
    await site.settled(tenant, id);
    await v.open(`/t/${tenant}/events/${id}`);
    await v.sees('Send again');
    await v.open(`/t/${tenant}/settings`);
    await v.follow('Erase data …');
    await v.field('Search').fill('data.email:ann@example.com');
    await v.press('Count events …');
    await v.sees('1 event will be erased.');
    await v.field('Search').fill('example.com');
    await v.press('Erase 1 event'); // other conditions than those that were counted
    await v.sees('2 events will be erased.');
    await v.field('Search').fill('data.email:ann@example.com');
    await v.press('Count again');
    await v.sees('1 event will be erased.');
    await v.press('Erase 1 event');
    await v.sees('The erasure has started.');
    await eventually(async () => (await site.api('GET', `/events/${id}?tenant_id=${tenant}`)).erased_at, 'the erasure');
    await v.open(`/t/${tenant}/events/${id}`);
    await v.sees('Erased: cannot be sent again');
    assert.equal(await v.button('Send again').count(), 0);
  });
}

journey(site, 'all that a tenant has is downloaded', async (v) => {
  const tenant = await site.tenant();
  await site.destination(tenant, { id: 'good', name: 'Good' });
  const { id } = await site.publish(tenant);
  await site.settled(tenant, id);
  await v.open(`/t/${tenant}/settings`);
  await v.follow('Export everything …');
  await v.sees('1 event with what became of them.');
  const [download] = await Promise.all([v.page.waitForEvent('download'), v.link('Download').click()]);
  assert.match(download.suggestedFilename(), new RegExp(`^tenant-${tenant}-.*\\.zip$`));
  const zip = readFileSync(await download.path());
  assert.equal(zip.subarray(0, 4).toString('latin1'), 'PK\x03\x04');
  assert.ok(zip.includes('manifest.json'), 'the manifest');
  await eventually(async () => (await site.api('GET', `/audit?tenant_id=${tenant}&action=export.finish&outcome=ok`)).models.length > 0, 'its end in the audit log');
  await v.open(`/t/${tenant}/audit`);
  await v.sees('Export of the tenant ended', v.main.getByRole('table'));
});

for (const size of [undefined, phone]) {
  journey(site, `topics are kept for less${size ? ', on a phone' : ''}`, size ? { size } : {}, async (v) => {
    const tenant = await site.tenant();
    await v.open(`/t/${tenant}/topics`);
    await v.follow('Retention by topic');
    await v.field('Rules').fill('login.*: 700');
    await v.press('Save rules', { status: 422 });
    await v.sees('login.*: days must be a whole number between 1 and 30');
    await v.field('Rules').fill('login.*: 7\norder.paid: 14');
    await v.press('Save rules');
    await v.sees('The rules were saved.');
    await v.open(`/t/${tenant}/settings/tenant`);
    await v.field('Days by topic').fill('order.*: 2');
    await v.press('Save settings');
    await v.sees('The settings were saved.');
    const { effective } = await site.api('GET', `/tenants/${tenant}/settings`);
    assert.deepEqual(effective.topic_retention.map((r) => `${r.topic}: ${r.days}`), ['login.*: 7', 'order.paid: 14', 'order.*: 2']);
  });
}
