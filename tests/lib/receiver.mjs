// A webhook receiver: it remembers every request and answers as it is told.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

export async function startReceiver() {
  const requests = [];
  let answer = { status: 200, headers: {}, body: 'ok' };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      const body = Buffer.concat(chunks).toString();
      requests.push({ method: request.method, path: request.url, headers: request.headers, body });
      response.writeHead(answer.status, { 'content-type': 'text/plain', ...answer.headers }).end(answer.body);
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  server.unref(); // it does not keep the process from ending
  return {
    url: `http://127.0.0.1:${server.address().port}/hook`,
    requests,
    // answers changes what requests are answered from now on.
    answers: (status, body = '', headers = {}) => { answer = { status, body, headers }; },
    close: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}

// verifies reports whether a request's signature (Standard Webhooks) is right for the secret.
export function verifies(request, secret) {
  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signatures } = request.headers;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const want = Buffer.from(createHmac('sha256', key).update(`${id}.${time}.${request.body}`).digest('base64'));
  return signatures.split(' ').some((s) => {
    const got = Buffer.from(s.replace(/^v1,/, ''));
    return got.length === want.length && timingSafeEqual(got, want);
  });
}
