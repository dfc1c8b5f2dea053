// Node's http and net.
//
//   node.js server HTTP-PORT ECHO-PORT
//   node.js client HOST HTTP-PORT ECHO-PORT
'use strict';
const crypto = require('crypto');
const http = require('http');
const net = require('net');
const { once } = require('events');

const digest = (data) => crypto.createHash('sha256').update(data).digest('hex');
const address = (socket) => socket.remoteAddress.replace('::ffff:', '');

async function server(httpPort, echoPort) {
  const web = http.createServer(async (request, response) => {
    if (request.method === 'GET') return response.end(`GET of ${address(request.socket)}`);
    const hash = crypto.createHash('sha256');
    for await (const part of request) hash.update(part);
    response.end(hash.digest('hex'));
  });
  await once(web.listen(httpPort), 'listening');
  const echo = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  await once(echo.listen(echoPort), 'listening');
  console.log('listening');
}

async function ask(options, body) {
  const request = http.request(options);
  request.end(body);
  const [response] = await once(request, 'response');
  const parts = [];
  for await (const part of response) parts.push(part);
  return [Buffer.concat(parts).toString(), response.socket];
}

async function stream(host, port) {
  const data = crypto.randomBytes(262144);
  const socket = net.connect({ host, port, allowHalfOpen: true });
  socket.end(data);
  const parts = [];
  for await (const part of socket) parts.push(part);
  return digest(Buffer.concat(parts)) === digest(data);
}

async function client(host, httpPort, echoPort) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 10 });
  const ports = new Set();
  const get = async () => {
    const request = http.request({ host, port: httpPort, agent });
    request.on('socket', (socket) => {
      const note = () => ports.add(socket.localPort);
      if (socket.connecting) socket.once('connect', note);
      else note();
    });
    request.end();
    const [response] = await once(request, 'response');
    let text = '';
    for await (const part of response) text += part;
    return text;
  };
  const answers = await Promise.all(Array.from({ length: 300 }, get));
  const different = [...new Set(answers)];
  console.log(`${answers.length} answers: ${different}, on at most ${Math.max(ports.size, 10)} connections`);
  const body = crypto.randomBytes(4 << 20);
  const [posted] = await ask({ host, port: httpPort, method: 'POST', agent }, body);
  console.log(`posted ${body.length} bytes: ${posted === digest(body) ? 'equal' : 'different'}`);
  agent.destroy();
  const streams = await Promise.all(Array.from({ length: 20 }, () => stream(host, echoPort)));
  console.log(`${streams.length} streams of 262144 bytes: ${streams.every(Boolean) ? 'equal' : 'different'}`);
  const refused = net.connect(9, host);
  const [error] = await once(refused, 'error').catch((e) => [e]);
  console.log(`refused: ${error.code}`);
}

const [role, ...rest] = process.argv.slice(2);
(role === 'server' ? server : client)(...rest).catch((error) => {
  console.error(error);
  process.exit(1);
});
