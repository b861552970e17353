// @badgateway/oauth2-client's OAuth2Fetch, which gets its tokens by client credentials.

import { apiUrl, base, client, drive, secret, webStream } from './drive.mjs';
import { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client';

const oauth = new OAuth2Client({ server: base, clientId: client, clientSecret: secret, tokenEndpoint: '/token' });
const wrapper = new OAuth2Fetch({ client: oauth, getNewToken: () => oauth.clientCredentials() });

async function send(options) {
  const response = await wrapper.fetch(apiUrl, options);
  await response.arrayBuffer();
  return response.status;
}

await drive(send, () => send({ method: 'POST', body: webStream(), duplex: 'half' }));
