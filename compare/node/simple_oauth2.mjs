// simple-oauth2's ClientCredentials. The program keeps the token, asks for another one when `expired()` says so, and sends by fetch.

import { apiUrl, base, client, drive, secret, webStream } from './drive.mjs';
import { ClientCredentials } from 'simple-oauth2';

const oauth = new ClientCredentials({ client: { id: client, secret }, auth: { tokenHost: base, tokenPath: '/token' } });
let accessToken;

async function headers() {
  if (!accessToken || accessToken.expired()) accessToken = await oauth.getToken({});
  return { Authorization: `Bearer ${accessToken.token.access_token}` };
}

async function send(options) {
  const response = await fetch(apiUrl, { headers: await headers(), ...options });
  await response.arrayBuffer();
  return response.status;
}

await drive(send, () => send({ method: 'POST', body: webStream(), duplex: 'half' }));
