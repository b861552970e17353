// A resource server: express-oauth2-jwt-bearer, which finds the keys through the issuer's discovery document.
// /patients accepts any token with the scope `read`: GET returns JSON, POST returns the body. /admin requires `write`.
import express from 'express';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';

const { env } = process;
const app = express();
app.get('/up', (request, response) => response.send('ok'));
app.use(auth({
  issuerBaseURL: env.OIDC_PROVIDER_ISSUER,
  audience: 'urn:example:api',
  tokenSigningAlg: 'RS256',
  clockTolerance: 0,
  // By default the keys are fetched at most every 30 s, so the tokens of a new key would be refused for up to 30 s.
  cooldownDuration: 1000,
}));
app.get('/patients', requiredScopes('read'), (request, response) => response.json({ resourceType: 'Bundle', sub: request.auth.payload.sub }));
app.post('/patients', requiredScopes('read'), (request, response) => request.pipe(response));
app.get('/admin', requiredScopes('write'), (request, response) => response.json({ ok: true }));
app.use((error, request, response, next) => {
  response.set(error.headers ?? {}).status(error.status ?? 500).json({ code: error.code, message: error.message });
});
app.listen(new URL(env.EXPRESS_URL).port, '127.0.0.1');
