// oidc-provider with the password grant, which it lacks, through its own extension point.
// JWT access tokens (RFC 9068). Refresh tokens rotate, and a second use ends the session. SIGHUP creates a new signing key.
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider, errors } from 'oidc-provider';

const { env } = process;
const issuer = env.OIDC_PROVIDER_ISSUER;
const ttl = Number(env.REAL_TTL);
const audience = 'urn:example:api';
const users = { [env.REAL_USERNAME]: env.REAL_PASSWORD, [env.REAL_WEIRD_USERNAME]: env.REAL_WEIRD_PASSWORD };
const publicKey = (file) => createPublicKey(createPrivateKey(readFileSync(file))).export({ format: 'jwk' });

const client = (client_id, client_secret, settings) => ({
  client_id,
  client_secret,
  token_endpoint_auth_method: 'client_secret_basic',
  grant_types: ['password', 'refresh_token', 'client_credentials'],
  redirect_uris: [],
  response_types: [],
  scope: 'read write',
  ...settings,
});
// The key has the client's name.
const withKey = (id, file, alg) => client(id, undefined, {
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: alg,
  jwks: { keys: [{ ...publicKey(file), kid: id, use: 'sig', alg }] },
});
const clients = [
  client(env.REAL_CLIENT_ID, env.REAL_CLIENT_SECRET),
  client(env.REAL_WEIRD_CLIENT_ID, env.REAL_WEIRD_CLIENT_SECRET),
  client('post', env.REAL_CLIENT_SECRET, { token_endpoint_auth_method: 'client_secret_post' }),
  client('nogrant', 'secret', { grant_types: ['client_credentials'] }),
  withKey(env.OIDC_PROVIDER_KEY_CLIENT_ID, env.OIDC_PROVIDER_KEY_FILE, 'ES384'),
  withKey(env.OIDC_PROVIDER_RSA_CLIENT_ID, env.OIDC_PROVIDER_RSA_KEY_FILE, 'RS384'),
  client(env.OIDC_PROVIDER_HMAC_CLIENT_ID, env.OIDC_PROVIDER_HMAC_CLIENT_SECRET, {
    token_endpoint_auth_method: 'client_secret_jwt',
    token_endpoint_auth_signing_alg: 'HS256',
  }),
];

const resourceServer = {
  scope: 'read write',
  audience,
  accessTokenTTL: ttl,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: 'RS256' } },
};

async function passwordGrant(provider, ctx) {
  const { params, client } = ctx.oidc;
  for (const name of ['username', 'password']) {
    if (!params[name]) throw new errors.InvalidRequest(`missing required parameter '${name}'`);
  }
  if (users[params.username] !== params.password) throw new errors.InvalidGrant('invalid credentials provided');
  const scope = params.scope ?? 'read';
  for (const part of scope.split(' ')) {
    if (!['read', 'write'].includes(part)) throw new errors.InvalidScope('requested scope is not allowed', part);
  }
  const grant = new provider.Grant({ clientId: client.clientId, accountId: params.username });
  grant.addResourceScope(audience, scope);
  const common = { client, accountId: params.username, grantId: await grant.save(), gty: 'password', scope };
  const access = new provider.AccessToken(common);
  access.resourceServer = new provider.ResourceServer(audience, resourceServer);
  const refresh = new provider.RefreshToken({ ...common, resource: audience, rotations: 0 });
  ctx.oidc.entity('Account', { accountId: params.username, claims: async () => ({ sub: params.username }) });
  ctx.oidc.entity('Grant', grant);
  ctx.oidc.entity('AccessToken', access);
  ctx.oidc.entity('RefreshToken', refresh);
  ctx.body = {
    access_token: await access.save(),
    expires_in: access.expiration,
    token_type: access.tokenType,
    scope: access.scope,
    refresh_token: await refresh.save(),
  };
}

// This is like a restart: the new provider does not know the refresh tokens of the old one.
function withNewKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: `key-${Date.now()}`, use: 'sig', alg: 'RS256' }] },
    scopes: ['read', 'write'],
    enabledJWA: { clientAuthSigningAlgValues: ['ES384', 'RS384', 'HS256'] },
    findAccount: async (ctx, id) => (id in users ? { accountId: id, claims: async () => ({ sub: id }) } : undefined),
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    ttl: { AccessToken: ttl, ClientCredentials: ttl, RefreshToken: 3600, Grant: 3600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: async () => audience,
        useGrantedResource: async () => true,
        getResourceServerInfo: async () => resourceServer,
      },
    },
  });
  provider.registerGrantType('password', (ctx) => passwordGrant(provider, ctx), ['username', 'password', 'scope']);
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider.callback();
}

let answer = withNewKey();
process.on('SIGHUP', () => { answer = withNewKey(); });
createServer((request, response) => answer(request, response)).listen(new URL(issuer).port, '127.0.0.1');
