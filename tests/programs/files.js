// A server of one folder: GET with ranges, PUT. files.js PORT FOLDER
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');
const { pipeline } = require('stream');

const [port, folder] = process.argv.slice(2);

function get(file, range, response) {
  const size = fs.statSync(file).size;
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range || '') || [];
  const start = Number(from || 0);
  const end = to ? Number(to) : size - 1;
  const headers = { 'Content-Length': end - start + 1, 'Accept-Ranges': 'bytes' };
  if (from) headers['Content-Range'] = `bytes ${start}-${end}/${size}`;
  response.writeHead(from ? 206 : 200, headers);
  pipeline(fs.createReadStream(file, { start, end }), response, () => {});
}

const server = http.createServer((request, response) => {
  const file = path.join(folder, path.basename(request.url));
  if (request.method === 'PUT') {
    pipeline(request, fs.createWriteStream(file), (error) => {
      response.statusCode = error ? 500 : 201;
      response.end();
    });
  } else {
    get(file, request.headers.range, response);
  }
});
server.listen(Number(port), () => console.log('listening'));
