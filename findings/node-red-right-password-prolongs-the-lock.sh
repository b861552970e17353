#!/bin/bash
# Node-RED 4.1.15: tokens asked for with the right password count as failed logins while the user is locked, so a client that
# goes on asking keeps its user locked.
#
# Five wrong passwords within ten minutes lock a user. A request with the right password is then answered by a 500 with the code
# `server_error`, the same as a broken server, and is counted like a wrong one. Before the lock a right password is not counted.
#
# Where it touches us: a 500 with an OAuth code is `FailureClass::Unexplained`, whose waits grow to ten minutes
# (`src/error/class.rs`), and is not `Transient`, whose short waits would keep the lock.
# Needs node and npm. The clock of the process is moved, because the lock lasts ten minutes. Output seen:
#   right password, five times: 200 200 200 200 200
#   wrong password, five times: 403 403 403 403 403
#   right password, 9 minutes later, five times: 500 500 500 500 500 server_error
#   right password, 11 minutes after the wrong ones: 500
#   right password, 20 minutes after the wrong ones: 200
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-audit --no-fund node-red@4.1.15 bcryptjs@3.0.3 express@5.1.0 >>npm.log 2>&1
cat >finding.mjs <<'NODE'
import bcrypt from 'bcryptjs';
import express from 'express';
import { createServer } from 'node:http';
import RED from 'node-red';

let minutes = 0;
const now = Date.now;
Date.now = () => now() + minutes * 60_000;

const app = express();
const server = createServer(app);
RED.init(server, {
  userDir: process.argv[2],
  httpAdminRoot: '/',
  credentialSecret: false,
  logging: { console: { level: 'off' } },
  adminAuth: {
    type: 'credentials',
    users: [{ username: 'alice', password: bcrypt.hashSync('right', 4), permissions: '*' }],
  },
});
app.use('/', RED.httpAdmin);
await RED.start();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const url = `http://127.0.0.1:${server.address().port}/auth/token`;
const ask = async (password) => {
  const form = { client_id: 'node-red-admin', grant_type: 'password', scope: '*', username: 'alice', password };
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(form) });
  return [answer.status, (await answer.json()).error];
};
const times = async (count, password) => {
  const answers = [];
  for (let index = 0; index < count; index++) answers.push(await ask(password));
  return answers;
};
const statuses = (answers) => answers.map(([status]) => status).join(' ');

console.log('right password, five times:', statuses(await times(5, 'right')));
console.log('wrong password, five times:', statuses(await times(5, 'wrong')));
minutes = 9;
const locked = await times(5, 'right');
console.log('right password, 9 minutes later, five times:', statuses(locked), locked[0][1]);
minutes = 11;
console.log('right password, 11 minutes after the wrong ones:', statuses(await times(1, 'right')));
minutes = 20;
console.log('right password, 20 minutes after the wrong ones:', statuses(await times(1, 'right')));
process.exit();
NODE
mkdir user
seen=$(node finding.mjs "$folder/user" 2>/dev/null)
echo "$seen"
[ "$seen" = "right password, five times: 200 200 200 200 200
wrong password, five times: 403 403 403 403 403
right password, 9 minutes later, five times: 500 500 500 500 500 server_error
right password, 11 minutes after the wrong ones: 500
right password, 20 minutes after the wrong ones: 200" ]
