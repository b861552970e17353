// Resource servers for the tokens that the tests sign: keycloak-connect, passport-http-bearer, and Apollo Server in two ways.
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import express from 'express';
import { GraphQLError } from 'graphql';
import { jwtVerify } from 'jose';
import Keycloak from 'keycloak-connect';
import passport from 'passport';
import { Strategy as BearerStrategy } from 'passport-http-bearer';

const { env } = process;
const publicKey = createPublicKey(readFileSync(env.API_PUBLIC_KEY_FILE));
const verify = (token) => jwtVerify(token, publicKey, { audience: 'api' }).then(({ payload }) => payload);

// keycloak-connect as a bearer-only client. It needs no Keycloak server, because it is given the realm's key.
const keycloak = new Keycloak({}, {
  realm: 'test',
  'auth-server-url': 'http://127.0.0.1/',
  resource: 'api',
  'bearer-only': true,
  'realm-public-key': publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
});
const app = express();
app.get('/up', (request, response) => response.send('ok'));
app.use(keycloak.middleware());
app.get('/items', keycloak.protect(), (request, response) => response.json({ ok: true }));
app.get('/admin', keycloak.protect('realm:admin'), (request, response) => response.json({ ok: true }));
app.listen(new URL(env.KEYCLOAK_CONNECT_URL).port, '127.0.0.1');

// passport-http-bearer. /error passes the error of the check on, which becomes a 500; /false says that there is no such user.
passport.use('error', new BearerStrategy((token, done) => { verify(token).then((user) => done(null, user), done); }));
passport.use('false', new BearerStrategy((token, done) => { verify(token).then((user) => done(null, user), () => done(null, false)); }));
const behindPassport = express();
behindPassport.get('/up', (request, response) => response.send('ok'));
for (const name of ['error', 'false']) {
  behindPassport.all(`/${name}`, passport.authenticate(name, { session: false }), (request, response) => response.json({ ok: true }));
}
behindPassport.use((error, request, response, next) => response.status(500).json({ message: error.message }));
behindPassport.listen(new URL(env.PASSPORT_URL).port, '127.0.0.1');

const typeDefs = 'type Query { ok: String, admin: String }';
const error = (message, extensions) => { throw new GraphQLError(message, { extensions }); };
const user = async ({ headers }) => {
  const [, token = ''] = (headers.authorization ?? '').split(' ');
  return verify(token).catch(() => undefined);
};
const admin = () => error('not allowed', { code: 'FORBIDDEN' });
const listen = (url) => ({ port: Number(new URL(url).port), host: '127.0.0.1' });

// The context throws, with a status.
await startStandaloneServer(new ApolloServer({ typeDefs, resolvers: { Query: { ok: () => 'ok', admin } } }), {
  listen: listen(env.APOLLO_URL),
  context: async ({ req }) => ({
    user: await user(req) ?? error('not authenticated', { code: 'UNAUTHENTICATED', http: { status: 401 } }),
  }),
});

// A resolver throws.
const ok = (parent, args, context) => (context.user ? 'ok' : error('not authenticated', { code: 'UNAUTHENTICATED' }));
await startStandaloneServer(new ApolloServer({ typeDefs, resolvers: { Query: { ok, admin } } }), {
  listen: listen(env.APOLLO_RESOLVER_URL),
  context: async ({ req }) => ({ user: await user(req) }),
});
