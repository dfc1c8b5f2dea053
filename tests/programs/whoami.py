"""A web server that says which one it is, who asked, and for whom: whoami.py PORT [ADDRESS]."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(sys.argv[1])
ADDRESS = sys.argv[2] if len(sys.argv) > 2 else "0.0.0.0"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        client = self.headers.get("X-Forwarded-For")
        body = f"{PORT}: {self.client_address[0]} for {client}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


server = Server((ADDRESS, PORT), Handler)
print("listening", flush=True)
server.serve_forever()
