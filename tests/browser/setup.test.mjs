// A fresh server: the first user, logging in and out, and pages for those who may not or went astray.
import assert from 'node:assert/strict';
import { admin, journey, openSite } from './harness.mjs';

for (const js of [true, false]) {
  const site = await openSite();
  const mode = js ? 'with' : 'without';

  journey(site, `set-up with the code of the log, ${mode} JavaScript`, { js, loggedIn: false }, async (v) => {
    await v.open('/');
    assert.equal(v.path, '/setup');
    const fill = async (code) => {
      for (const [label, value] of [['Setup code', code], ['Your name', admin.name], ['Email', admin.email], ['Password', admin.password]]) {
        await v.main.getByRole('textbox', { name: label }).fill(value);
      }
    };
    await fill('not-the-code');
    await v.press('Create user and log in', { status: 422 });
    await v.isRefused('code', /is not the one in the server.s log/);
    assert.equal(await v.field('Your name').inputValue(), admin.name);
    assert.equal(await v.field('Email').inputValue(), admin.email);

    await fill(site.setupCode);
    await v.press('Create user and log in');
    await v.sees('It is shown once.');
    const key = await v.page.locator('#new-key').textContent();
    assert.match(key, /^wb_/);
    const answer = await fetch(`${site.base}/api/v1/tenants/demo`, { headers: { authorization: `Bearer ${key}` } });
    assert.equal(answer.status, 200);
    await v.follow('Continue');
    assert.equal(v.path, '/t/demo');

    await v.open('/setup', { status: 404 });
    await v.follow(/^Go to/);
    await v.open('/api-keys');
    assert.ok(!(await v.page.content()).includes(key), 'the key is shown again');
  });

  journey(site, `log in wrong, then right, and land where one wanted to go, ${mode} JavaScript`, { js, loggedIn: false }, async (v) => {
    const wanted = '/t/demo/events?range=24h&status=failed';
    await v.open(wanted);
    assert.match(v.path, /^\/login\?/);
    await v.sees('Log in to see this page.');
    await v.field('Email').fill(admin.email);
    await v.main.getByRole('textbox', { name: 'Password' }).fill('not the password');
    await v.press('Log in', { status: 422 });
    assert.match(await v.page.title(), /^Error: Log in/);
    const summary = v.main.getByRole('alert');
    await v.hasFocus(v.main.locator('.banner'));
    assert.match(await summary.textContent(), /Email or password is not right/);
    assert.equal(await v.field('Email').inputValue(), admin.email);
    assert.equal(await v.main.getByRole('textbox', { name: 'Password' }).inputValue(), '');

    // By keyboard: the summary has the focus; from there to the password.
    await v.main.getByRole('textbox', { name: 'Password' }).focus();
    await v.page.keyboard.type(admin.password);
    await v.arrives(() => v.page.keyboard.press('Enter'));
    assert.equal(v.path, wanted);
  });

  journey(site, `log out, ${mode} JavaScript`, { js, loggedIn: false }, async (v) => {
    const logIn = async () => {
      await v.field('Email').fill(admin.email);
      await v.main.getByRole('textbox', { name: 'Password' }).fill(admin.password);
      await v.press('Log in');
    };
    await v.open('/login');
    await logIn();
    assert.equal(v.path, '/t/demo');
    await v.open('/login');
    assert.equal(v.path, '/t/demo', 'who has logged in need not do it again');
    await v.press('Log out', { within: v.page });
    assert.equal(v.path, '/login');
    await v.sees('You have logged out.');
    await v.open('/t/demo/destinations');
    assert.match(v.path, /^\/login\?/);
    await logIn();
    assert.equal(v.path, '/t/demo/destinations');

    // A session that ended elsewhere says so.
    await v.context.addCookies([{ name: 'waybill_session', value: 'one-that-ended', url: site.base }]);
    await v.open('/t/demo');
    await v.sees('Your session has ended.');
  });

  journey(site, `the login does not lead away from the server, ${mode} JavaScript`, { js, loggedIn: false }, async (v) => {
    for (const to of ['https://example.com/', '//example.com/', '/\\example.com']) {
      await v.context.clearCookies();
      await v.open(`/login?return=${encodeURIComponent(to)}`);
      await v.field('Email').fill(admin.email);
      await v.main.getByRole('textbox', { name: 'Password' }).fill(admin.password);
      await v.press('Log in');
      assert.equal(v.path, '/t/demo', to);
    }
  });
}
