// node-oauth2-server with a model in memory, as its documentation shows. /items accepts its tokens.
import OAuth2Server from '@node-oauth/oauth2-server';
import express from 'express';

const { NODE_OAUTH2_SERVER_URL: url, REAL_CLIENT_ID, REAL_CLIENT_SECRET } = process.env;
const grants = ['password', 'client_credentials', 'refresh_token'];
const clients = [
  { id: REAL_CLIENT_ID, secret: REAL_CLIENT_SECRET, grants },
  { id: process.env.REAL_WEIRD_CLIENT_ID, secret: process.env.REAL_WEIRD_CLIENT_SECRET, grants },
];
const tokens = new Map();
const refreshTokens = new Map();
const model = {
  getClient: (id, secret) => clients.find((client) => client.id === id && (secret == null || client.secret === secret)),
  getUser: (name, password) => name === process.env.REAL_USERNAME && password === process.env.REAL_PASSWORD && { name },
  getUserFromClient: ({ id }) => ({ name: id }),
  validateScope: (user, client, scope) => scope ?? ['read'],
  saveToken(token, client, user) {
    const saved = { ...token, client, user };
    tokens.set(saved.accessToken, saved);
    if (saved.refreshToken) refreshTokens.set(saved.refreshToken, saved);
    return saved;
  },
  getAccessToken: (token) => tokens.get(token),
  getRefreshToken: (token) => refreshTokens.get(token),
  revokeToken: ({ refreshToken }) => refreshTokens.delete(refreshToken),
};
const server = new OAuth2Server({ model });

const answer = (handler) => async (request, response) => {
  const ours = new OAuth2Server.Response(response);
  try {
    await handler(new OAuth2Server.Request(request), ours);
    response.set(ours.headers).status(ours.status).send(ours.body);
  } catch (error) {
    const body = error.name === 'unauthorized_request' ? undefined : { error: error.name, error_description: error.message };
    response.set(ours.headers).status(error.code ?? 500).send(body);
  }
};

const app = express();
app.use(express.urlencoded({ extended: false }));
app.get('/up', (request, response) => response.send('ok'));
app.post('/oauth/token', answer((request, response) => server.token(request, response)));
app.get('/items', answer(async (request, response) => {
  await server.authenticate(request, response);
  response.body = { ok: true };
}));
app.listen(Number(new URL(url).port), '127.0.0.1');
