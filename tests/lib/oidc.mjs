// An identity provider of others: oidc-provider, certified by the OpenID Foundation. Its login page takes any name and any password;
// who that is, people says.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const client = { id: 'waybill', secret: 'the secret of the client, with + and &' };

// startProvider starts a provider. people are the claims by the name that is typed there. env is what a server needs to use it, which
// is known to it with serves.
export async function startProvider(people) {
  let answer = (_, response) => { response.writeHead(503).end(); };
  const server = createServer((request, response) => answer(request, response));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const issuer = `http://127.0.0.1:${server.address().port}`;
  return {
    issuer,
    env: {
      OIDC_ISSUER: issuer, OIDC_CLIENT_ID: client.id, OIDC_CLIENT_SECRET: client.secret, OIDC_NAME: 'Example ID',
      OIDC_SCOPES: 'openid email profile groups', OIDC_ROLES: 'platform=admin,devs=developer',
    },
    serves(base) {
      const provider = new Provider(issuer, {
        clients: [{ client_id: client.id, client_secret: client.secret, redirect_uris: [`${base}/login/oidc/callback`] }],
        claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
        scopes: ['openid', 'email', 'profile', 'groups'],
        pkce: { required: () => true },
        cookies: { keys: ['a key for tests'] },
        findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
      });
      provider.use(async (context, next) => { // its login page wants a font from elsewhere, browsers an icon
        if (context.path === '/favicon.ico') {
          context.status = 204;
          return;
        }
        await next();
        if (typeof context.body === 'string') context.body = context.body.replace(/@import url\([^)]*\);?/g, '');
      });
      answer = provider.callback();
    },
    async stop() {
      const closed = new Promise((resolve) => { server.close(resolve); });
      server.closeAllConnections();
      await closed;
    },
  };
}
