#!/usr/bin/env python3
"""A running mesh that makes connections when told to, and says which.  fleet.py OUT PREFIX

The pods of the case `boutique` (sidecars, a gateway, clients without a proxy) and a server outside the mesh, up until standard input ends. OUT/mesh.yaml is what
is declared. Says `ready`; then, for every line read, makes a round of connections and says, as one line of JSON, which:
`clients`: `[client ip, client port, server ip, server port]` of each connection of a client without a proxy, as its socket told;
`proxies`: `[client ip, server ip, server port, count]` of the connections between sidecars, one a call.
"""
import json
import pathlib
import sys

import envoy
import lab as recipe
from cases.boutique import CHECKOUT, CRON, FRONTEND, INGRESS, INVENTORY, LEDGER, PROMETHEUS, SEARCH
from lab import Lab, run

# A server outside the mesh, at the address of the clients from outside.
OUTSIDE, OUTSIDE_PORT = "outside/shopper", 8081

# What a client without a proxy does: one request, and its own socket's addresses.
ASK = """
import json, socket, ssl, sys
address, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
plain = socket.create_connection((address, port), 4)
ends = [*plain.getsockname()[:2], *plain.getpeername()[:2]]
if name:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = context.wrap_socket(plain, server_hostname=name)
else:
    session = plain
session.settimeout(4)
session.sendall(f"GET / HTTP/1.1\\r\\nhost: {name or address}\\r\\nconnection: close\\r\\n\\r\\n".encode())
while session.recv(4096):
    pass
session.close()
print(json.dumps(ends))
"""


def ask(lab, source, to, port, name=""):
    pod, target = lab.case.workload(source)[0], lab.case.workload(to)[0]
    done = run("ip", "netns", "exec", lab.namespace(pod), sys.executable, "-c", ASK, target.address, str(port), name)
    return json.loads(done.stdout)


def call(lab, source, to, port, times):
    """The application of `source` calls through its proxy; every call has to be answered."""
    pod, target = lab.case.workload(source)[0], lab.case.workload(to)[0]
    ip, dialled = envoy.dialled(lab.case, pod, envoy.call_of(pod, to, port, None))
    for _ in range(times):
        got = lab.client(lab.namespace(pod), "http", ip, str(dialled))
        if got != "200":
            raise SystemExit(f"{source} -> {to}:{port} by proxy: {got!r}")
    return [pod.address, target.address, port, times]


def rounds(lab):
    for _ in sys.stdin:
        clients = [ask(lab, CRON, LEDGER, 8080) for _ in range(3)]
        clients += [ask(lab, PROMETHEUS, SEARCH, 8080) for _ in range(3)]
        clients += [ask(lab, CRON, INVENTORY, 8080) for _ in range(2)]
        clients += [ask(lab, "outside/shopper", INGRESS, 8443, "shop.example.com") for _ in range(2)]
        clients += [ask(lab, INVENTORY, OUTSIDE, OUTSIDE_PORT) for _ in range(2)]
        proxies = [call(lab, FRONTEND, CHECKOUT, 8080, 3), call(lab, FRONTEND, INVENTORY, 8080, 2)]
        # What the gateway is asked it asks the frontend.
        gateway, frontend = lab.case.workload(INGRESS)[0], lab.case.workload(FRONTEND)[0]
        proxies.append([gateway.address, frontend.address, 8080, 2])
        print(json.dumps({"clients": clients, "proxies": proxies}), flush=True)


def serve_outside(lab):
    pod = lab.case.workload(OUTSIDE)[0]
    lab.start(lab.namespace(pod), "outside", sys.executable, str(recipe.HERE / "workload.py"), pod.address, str(lab.out), f"http:{OUTSIDE_PORT}")
    lab.wait_port(lab.namespace(pod), OUTSIDE_PORT)


def main():
    out, prefix = sys.argv[1:3]
    lab = Lab("boutique", out, prefix)
    lab.out.mkdir(parents=True, exist_ok=True)
    lab.mesh()
    try:
        lab.up()
        serve_outside(lab)
        print("ready", flush=True)
        rounds(lab)
    finally:
        lab.down()


main()
