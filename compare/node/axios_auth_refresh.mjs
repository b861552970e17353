// axios-auth-refresh with the two interceptors of its README. It knows of no expiry: a request without a good token gets a 401, and
// then it asks the program's function for a token. The argument `independent` sets `deduplicateRefresh: false`.

import { apiUrl, client, drive, secret, stream, tokenUrl } from './drive.mjs';
import axios from 'axios';
import { createAuthRefresh } from 'axios-auth-refresh';

const api = axios.create();
let token;

api.interceptors.request.use((request) => {
  request.headers.Authorization = `Bearer ${token}`;
  return request;
});

async function refresh(failedRequest) {
  const form = new URLSearchParams({ grant_type: 'client_credentials' });
  const { data } = await axios.post(tokenUrl, form, { auth: { username: client, password: secret }, skipAuthRefresh: true });
  token = data.access_token;
  failedRequest.response.config.headers.Authorization = `Bearer ${token}`;
}

createAuthRefresh(api, refresh, process.argv[2] === 'independent' ? { deduplicateRefresh: false } : {});

await drive(
  async () => (await api.get(apiUrl)).status,
  async () => (await api.post(apiUrl, stream())).status,
);
