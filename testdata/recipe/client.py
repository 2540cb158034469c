#!/usr/bin/env python3
"""A client without a proxy.  client.py http|tls|tcp|grpc ADDRESS PORT [sni=NAME] [certificate=PATH] [keylog=PATH] [path=/] [first=1]

`first=1`: the client of tcp speaks first, and awaits no banner. Prints one line: what came back, or why nothing did. One connection, closed at the end.
"""
import http.client
import socket
import ssl
import subprocess
import sys


def main():
    kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    options = dict(item.split("=", 1) for item in sys.argv[4:])
    path = options.get("path", "/")
    try:
        if kind == "http":
            connection = http.client.HTTPConnection(address, port, timeout=4)
            connection.request("GET", path, headers={"host": options.get("sni", address)})
            print(connection.getresponse().status)
        elif kind == "grpc":
            done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-m", "4", "-w", "%{http_code}", "--http2-prior-knowledge", "-H", "content-type: application/grpc",
                                   "-H", "te: trailers", "--data-binary", "@-", f"http://{address}:{port}/ledger.v1.Ledger/Post"],
                                  input=b"\0\0\0\0\2\x08\x01", capture_output=True, check=False)
            print(done.stdout.decode())
        elif kind == "tcp":
            connection = socket.create_connection((address, port), 4)
            connection.settimeout(4)
            if "first" not in options:
                print(connection.recv(99))
            connection.sendall(b"POST 100 EUR\r\n")
            print(connection.recv(99))
            connection.close()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["http/1.1"])
            if "keylog" in options:
                context.keylog_filename = options["keylog"]
            if "certificate" in options:
                context.load_cert_chain(options["certificate"] + ".crt", options["certificate"] + ".key")
            plain = socket.create_connection((address, port), 4)
            session = context.wrap_socket(plain, server_hostname=options.get("sni"))
            session.sendall(f"GET {path} HTTP/1.1\r\nhost: {options.get('sni', address)}\r\nconnection: close\r\n\r\n".encode())
            print(session.recv(4096)[:15])
            session.close()
    except (OSError, http.client.HTTPException) as error:
        print(f"{type(error).__name__}: {error}")


main()
