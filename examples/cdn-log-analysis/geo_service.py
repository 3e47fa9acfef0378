#!/usr/bin/env python3
"""A service that knows where addresses are: GET /ipJson.jsp?ip=1.2.3.4 gives, in GBK, what the PyFlink introduction shows.

    geo_service.py PORT      0 takes any free one; the address is the first line of output
"""
import bisect
import gzip
import http.server
import json
import os
import socket
import struct
import sys
import urllib.parse

STARTS, REGIONS = [], []
with gzip.open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "udf", "regions.csv.gz"), "rt", encoding="utf-8") as lines:
    next(lines)
    for line in lines:
        first, _last, region = line.rstrip("\n").split(",")
        STARTS.append(int(first))
        REGIONS.append(region)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        address = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query).get("ip", [""])[0]
        try:
            number = struct.unpack(">I", socket.inet_aton(address))[0]
            fields = {"ip": address, "pro": REGIONS[bisect.bisect_right(STARTS, number) - 1], "err": ""}
        except OSError:
            fields = {"ip": address, "pro": "", "err": "noprovince"}
        text = "if(window.IPCallBack) {IPCallBack(%s);}" % json.dumps(fields, ensure_ascii=False)
        body = text.encode("gbk")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=GBK")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
    print("127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
