#!/usr/bin/env python3
"""The application of one pod.  workload.py ADDRESS OUT KIND:PORT...

KIND is http (HTTP/1.1), tcp (banner first, then echo), tls (HTTP/1.1 inside the application's own TLS) or mtls (the same, and a
certificate of the partner CA is demanded).
"""
import http.server
import json
import socket
import ssl
import sys
import threading


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"path": self.path, "items": [{"id": n, "name": f"item {n}"} for n in range(4)]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def serve_http(address, port, context=None):
    server = http.server.ThreadingHTTPServer((address, port), Answer)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def converse(connection):
    connection.settimeout(5)
    try:
        connection.sendall(b"220 ledger feed ready\r\n")
        while data := connection.recv(4096):
            connection.sendall(data)
    except OSError:
        pass
    finally:
        connection.close()


def serve_tcp(address, port):
    server = socket.create_server((address, port))
    while True:
        threading.Thread(target=converse, args=(server.accept()[0],), daemon=True).start()


def main():
    address, out = sys.argv[1:3]
    for item in sys.argv[3:]:
        kind, port = item.split(":")
        if kind == "tcp":
            target, args = serve_tcp, (address, int(port))
        elif kind in ("tls", "mtls"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(f"{out}/pki/application.crt", f"{out}/pki/application.key")
            context.keylog_filename = f"{out}/keys.application.log"
            if kind == "mtls":
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(f"{out}/pki/partner-ca.crt")
            target, args = serve_http, (address, int(port), context)
        else:
            target, args = serve_http, (address, int(port))
        threading.Thread(target=target, args=args, daemon=True).start()
    threading.Event().wait()


main()
