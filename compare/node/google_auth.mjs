// google-auth-library's OAuth2Client with a refresh token, since it has no client credentials for other issuers. The argument `force`
// sets `forceRefreshOnFailure: true`.

import { apiUrl, client, drive, refreshToken, secret, stream, tokenUrl } from './drive.mjs';
import { OAuth2Client } from 'google-auth-library';

const oauth = new OAuth2Client({
  clientId: client,
  clientSecret: secret,
  endpoints: { oauth2TokenUrl: tokenUrl },
  forceRefreshOnFailure: process.argv[2] === 'force',
});
oauth.setCredentials({ refresh_token: refreshToken });

await drive(
  async () => (await oauth.request({ url: apiUrl })).status,
  async () => (await oauth.request({ url: apiUrl, method: 'POST', data: stream() })).status,
);
