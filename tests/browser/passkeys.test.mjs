// Passkeys, with an authenticator that Chromium plays: adding one, logging in with it alone, a recent login, removing it.
import assert from 'node:assert/strict';
import { journey, openSite } from './harness.mjs';

// Browsers take passkeys for names only, not for addresses.
const site = await openSite({ host: 'localhost' });

// device gives a visitor's browser an authenticator with a lock that is always open.
async function device(v) {
  const cdp = await v.context.newCDPSession(v.page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return { cdp, authenticatorId };
}

async function add(v, name) {
  await v.open('/account');
  await v.follow('Add a passkey');
  await v.field('Name').fill(name);
  await v.press('Add passkey');
  await v.sees(`The passkey “${name}” is added.`);
}

journey(site, 'a passkey is added, logs in alone, is a recent login, is renamed and removed', { js: true }, async (v) => {
  const { cdp, authenticatorId } = await device(v);
  await add(v, 'Laptop');
  const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId });
  assert.equal(credentials.length, 1);
  assert.equal(credentials[0].rpId, 'localhost');
  assert.equal(credentials[0].isResidentCredential, true);

  // A device has one passkey of a user.
  await v.follow('Add a passkey');
  await v.field('Name').fill('Another');
  await v.button('Add passkey').click();
  await v.sees(/^No passkey: /);

  await v.context.clearCookies({ name: 'waybill_session' });
  await v.open('/account');
  assert.match(v.path, /^\/login/);
  await v.press('Log in with a passkey');
  assert.equal(v.path, '/account');
  await v.sees(/last used/);

  await v.open('/confirm?return=%2Faccount%2Fpasskeys%2Fnew');
  await v.press('Use a passkey');
  assert.equal(v.path, '/account/passkeys/new');

  await v.open('/account');
  await v.page.getByLabel('Name of the passkey Laptop').fill('Work laptop');
  await v.press('Rename the passkey Laptop');
  await v.sees('The passkey is renamed.');
  await v.press('Remove the passkey Work laptop');
  await v.sees('The passkey is removed.');

  // What was removed logs nobody in.
  const { models: [user] } = await site.api('GET', '/users');
  assert.equal(user.passkeys, 0);
});

journey(site, 'a passkey that was removed here logs nobody in', { js: true }, async (v) => {
  await device(v);
  await add(v, 'Old');
  const other = await site.visitor();
  try {
    await device(other);
    await add(other, 'Kept'); // so that the login page still offers passkeys
    const { models: [user] } = await site.api('GET', '/users');
    const { models } = await site.api('GET', `/users/${user.id}/passkeys`);
    await site.api('DELETE', `/users/${user.id}/passkeys/${models.find((k) => k.name === 'Old').id}`);
    await v.context.clearCookies({ name: 'waybill_session' });
    await v.open('/login');
    await v.press('Log in with a passkey', { status: 422 });
    await v.sees(/This passkey is not known here/);
    await site.api('DELETE', `/users/${user.id}/passkeys`);
  } finally {
    await other.context.close();
  }
});

journey(site, 'without a script, the page says so', { js: false }, async (v) => {
  await v.open('/account/passkeys/new');
  assert.match(await v.main.innerText(), /Passkeys need JavaScript\./); // within noscript
  assert.equal(await v.button('Add passkey').isVisible(), false);
});

const addressed = await openSite();

journey(addressed, 'an address without a name is named as the reason why there are none', async (v) => {
  await v.open('/account');
  await v.sees(/BASE_URL is an IP address \(127\.0\.0\.1\), and passkeys need a name/);
  await v.open('/account/passkeys/new');
  await v.sees(/BASE_URL is an IP address/);
});
