// openid-client's clientCredentialsGrant and fetchProtectedResource. The program keeps the token until `expiresIn()` is 0.

import { apiUrl, base, client, drive, secret, webStream } from './drive.mjs';
import * as openid from 'openid-client';

const config = await openid.discovery(new URL(base), client, secret, undefined, { execute: [openid.allowInsecureRequests] });
let tokens;

async function send(method, body) {
  if (!tokens || tokens.expiresIn() === 0) tokens = await openid.clientCredentialsGrant(config);
  const response = await openid.fetchProtectedResource(config, tokens.access_token, new URL(apiUrl), method, body, undefined, {});
  await response.arrayBuffer();
  return response.status;
}

await drive(() => send('GET'), () => send('POST', webStream()));
