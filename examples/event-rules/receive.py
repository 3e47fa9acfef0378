#!/usr/bin/env python3
"""Stands for the chat and the service: prints its port, then each call as a line of its path, a tab and its body. Of two calls with
one Idempotency-Key it prints the first."""
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

seen = set()


class Calls(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        key = self.headers.get("Idempotency-Key")
        if key is None or key not in seen:
            seen.add(key)
            print(self.path, body, sep="\t", flush=True)
        self.send_response(204)
        self.end_headers()

    do_PUT = do_POST

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Calls)
    print(server.server_port, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)
