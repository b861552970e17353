// Node-RED in our own process, because its program hides its command line. It locks a user after five wrong passwords within
// ten minutes, so each test has its own user.
import bcrypt from 'bcryptjs';
import express from 'express';
import { createServer } from 'node:http';
import RED from 'node-red';

const [userDir] = process.argv.slice(2);
const password = bcrypt.hashSync(process.env.REAL_PASSWORD, 4);
const user = (username) => ({ username, password, permissions: '*' });
const app = express();
const server = createServer(app);
RED.init(server, {
  userDir,
  httpAdminRoot: '/',
  credentialSecret: false,
  adminAuth: { type: 'credentials', users: ['granted', 'revoking', 'mistyped', 'locked', 'client'].map(user) },
});
app.use('/', RED.httpAdmin);
await RED.start();
server.listen(Number(new URL(process.env.NODE_RED_URL).port), '127.0.0.1');
