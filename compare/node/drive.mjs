// Does what the runner says on standard input, by a function that sends one request: `at-once N`, `in-turn N`, `paced N RATE`,
// `upload`. Prints the answer of each request on a line: its status, or `error`.

import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export const base = process.env.COMPARE_URL;
export const secret = process.env.COMPARE_SECRET;
export const client = 'compare-client';
export const refreshToken = 'compare-refresh';
export const tokenUrl = base + '/token';
export const apiUrl = base + '/api';

const [chunks, chunk, chunkMilliseconds] = [100, Buffer.alloc(10_000, 'x'), 2];

async function* generate() {
  for (let i = 0; i < chunks; i++) {
    yield chunk;
    await sleep(chunkMilliseconds);
  }
}

// A stream of Node.
export const stream = () => Readable.from(generate(), { objectMode: false });
// A stream of the Fetch standard.
export const webStream = () => ReadableStream.from(generate());

const report = (answer) => process.stdout.write(answer + '\n');

export async function drive(send, upload) {
  const one = (request) =>
    request().then(report, (error) => {
      console.error(`${error?.name}: ${error?.message}`);
      report(error?.response?.status ?? 'error');
    });
  report('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, count, rate] = line.split(' ');
    if (name === 'at-once') await Promise.all(Array.from({ length: +count }, () => one(send)));
    if (name === 'in-turn') for (let i = 0; i < +count; i++) await one(send);
    if (name === 'upload') await one(upload);
    if (name === 'paced') {
      const [start, running] = [performance.now(), []];
      for (let i = 0; i < +count; i++) {
        await sleep(Math.max(0, start + (i * 1000) / +rate - performance.now()));
        running.push(one(send));
      }
      await Promise.all(running);
    }
  }
}
