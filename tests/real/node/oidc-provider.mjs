// oidc-provider with the password grant, which it lacks, through its own extension point.
// JWT access tokens (RFC 9068). Refresh tokens rotate, and a second use ends the session. SIGHUP creates a new signing key.
// The clients of a fleet get opaque tokens for the userinfo endpoint, which live for 3 s. What happens to a session is written to
// a file, a line each: `saved`, `used`, `second_use` and `revoked`, with the grant and, where there is one, the refresh token.
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider, errors } from 'oidc-provider';

const { env } = process;
const issuer = env.OIDC_PROVIDER_ISSUER;
const ttl = Number(env.REAL_TTL);
const audience = 'urn:example:api';
const fleetTtl = 3;
const secondUseFor = 30;
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
  client(env.OIDC_PROVIDER_FLEET_CLIENT_ID, env.REAL_CLIENT_SECRET, { scope: 'openid' }),
  client(env.OIDC_PROVIDER_LENIENT_CLIENT_ID, env.REAL_CLIENT_SECRET, { scope: 'openid' }),
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

// As the provider's own adapter, which keeps the last 1,000 entries only. A refresh token of the lenient client counts as used
// some seconds after its use: the adapter is where this server lets a second use pass.
function createAdapter() {
  const entries = new Map();
  return (model) => {
    const key = (id) => `${model}:${id}`;
    return {
      upsert: async (id, payload) => { entries.set(key(id), payload); },
      find: async (id) => {
        const payload = entries.get(key(id));
        return payload?.accepted > Date.now() ? { ...payload, consumed: undefined } : payload;
      },
      findByUid: async () => undefined,
      findByUserCode: async () => undefined,
      destroy: async (id) => { entries.delete(key(id)); },
      consume: async (id) => {
        const payload = entries.get(key(id));
        const isLenient = payload.clientId === env.OIDC_PROVIDER_LENIENT_CLIENT_ID;
        payload.accepted ??= isLenient ? Date.now() + secondUseFor * 1000 : 0;
        payload.consumed = Math.floor(Date.now() / 1000);
      },
      revokeByGrantId: async (grantId) => {
        for (const [key, payload] of entries) if (key.startsWith(`${model}:`) && payload.grantId === grantId) entries.delete(key);
      },
    };
  };
}

function log(...words) {
  appendFileSync(env.OIDC_PROVIDER_EVENTS, `${words.join(' ')}\n`);
}

async function passwordGrant(provider, ctx) {
  const { params, client } = ctx.oidc;
  for (const name of ['username', 'password']) {
    if (!params[name]) throw new errors.InvalidRequest(`missing required parameter '${name}'`);
  }
  if (users[params.username] !== params.password) throw new errors.InvalidGrant('invalid credentials provided');
  const scope = params.scope ?? 'read';
  for (const part of scope.split(' ')) {
    if (!client.scope.split(' ').includes(part)) throw new errors.InvalidScope('requested scope is not allowed', part);
  }
  const grant = new provider.Grant({ clientId: client.clientId, accountId: params.username });
  const forFleet = scope === 'openid';
  if (forFleet) grant.addOIDCScope(scope);
  else grant.addResourceScope(audience, scope);
  const common = { client, accountId: params.username, grantId: await grant.save(), gty: 'password', scope };
  const access = new provider.AccessToken(common);
  if (!forFleet) access.resourceServer = new provider.ResourceServer(audience, resourceServer);
  const refresh = new provider.RefreshToken({ ...common, resource: forFleet ? undefined : audience, rotations: 0 });
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
    adapter: createAdapter(),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: `key-${Date.now()}`, use: 'sig', alg: 'RS256' }] },
    scopes: ['read', 'write'],
    enabledJWA: { clientAuthSigningAlgValues: ['ES384', 'RS384', 'HS256'] },
    findAccount: async (ctx, id) => (id in users ? { accountId: id, claims: async () => ({ sub: id }) } : undefined),
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    ttl: {
      AccessToken: (ctx, token, client) => (client.scope === 'openid' ? fleetTtl : ttl),
      ClientCredentials: ttl,
      RefreshToken: 3600,
      Grant: 3600,
      IdToken: 3600,
    },
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
  provider.on('refresh_token.saved', (token) => log('saved', token.grantId, token.jti));
  provider.on('refresh_token.consumed', (token) => log('used', token.grantId, token.jti));
  provider.on('grant.revoked', (ctx, grantId) => log('revoked', grantId));
  provider.on('grant.error', (ctx, error) => {
    const token = ctx.oidc?.entities.RefreshToken;
    if (token?.consumed) log('second_use', token.grantId, token.jti);
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider.callback();
}

let answer = withNewKey();
process.on('SIGHUP', () => { answer = withNewKey(); });
createServer((request, response) => answer(request, response)).listen(new URL(issuer).port, '127.0.0.1');
