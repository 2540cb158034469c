#!/usr/bin/env python3
"""Runs one case in network namespaces of its own and captures it.  lab.py NAME OUT [PREFIX]

Needs root, iproute2, iptables, tcpdump, openssl and Envoy ($ENVOY). Writes OUT/capture.pcap (the node's bridge, Ethernet; or all
interfaces of the pod that the case names, LINUX_SLL2), OUT/mesh.yaml (the inventory, then the case's policies), and beside them
what only serves checking: OUT/pki, OUT/keys.*.log, OUT/*.log, OUT/calls.txt (what every call got). Ends exactly the processes
that it started.
"""
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import envoy
import inventory
from model import AMBIENT

HERE = pathlib.Path(__file__).resolve().parent
ENVOY = os.environ.get("ENVOY", "envoy")
PODS, WORLD = "10.20.0.0/16", "203.0.113.0/24"
NETWORKS = (PODS, WORLD, "10.30.0.0/16", "198.51.100.0/24", "10.96.0.0/16")
PROXY_GROUP = "1337"  # Istio's proxies run under it, so that their own connections are not redirected


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


class Lab:
    def __init__(self, name, out, prefix):
        sys.path.insert(0, str(HERE / "cases"))
        self.name, self.out, self.prefix = name, pathlib.Path(out).resolve(), prefix
        self.case = importlib.import_module(name.replace("-", "_")).CASE
        self.processes, self.namespaces = [], []
        self.calls = None

    def namespace(self, pod):
        return f"{self.prefix}-{pod.namespace_of_network}"

    @property
    def node(self):
        return f"{self.prefix}-node"

    def add_namespace(self, name):
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1", check=False)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def network(self):
        self.add_namespace(self.node)
        run("ip", "-n", self.node, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.node, "link", "set", "br0", "up")
        run("ip", "-n", self.node, "addr", "add", "10.20.0.1/16", "dev", "br0")
        for index, pod in enumerate(self.case.pods):
            name, veth = self.namespace(pod), f"veth{index}"
            self.add_namespace(name)
            run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", veth, "netns", self.node)
            run("ip", "-n", self.node, "link", "set", veth, "master", "br0")
            run("ip", "-n", self.node, "link", "set", veth, "up")
            run("ip", "-n", name, "addr", "add", pod.address + "/32", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            # One flat link: what a real cluster routes is reached directly here; the addresses are what matters.
            for network in NETWORKS:
                run("ip", "-n", name, "route", "add", network, "dev", "eth0")
            if pod.redirected:
                self.redirect(name, pod)

    def redirect(self, namespace, pod):
        """The chains of istio-init, without those that concern IPv6 and UDP."""
        excluded = ",".join(str(port) for port in [15008, 15020, 15021, 15090, *(p.number for p in pod.ports if p.mode == "EXCLUDED")])
        for rule in (f"PREROUTING -i eth0 -p tcp -m multiport --dports {excluded} -j RETURN",
                     f"PREROUTING -i eth0 -p tcp -j REDIRECT --to-ports {envoy.REDIRECT_INBOUND}",
                     f"OUTPUT -p tcp -s {envoy.INBOUND_SOURCE}/32 -o lo -j RETURN",
                     f"OUTPUT -p tcp -o lo ! -d 127.0.0.1/32 -m owner --gid-owner {PROXY_GROUP} -j REDIRECT --to-ports {envoy.REDIRECT_INBOUND}",
                     f"OUTPUT -p tcp -o lo -m owner ! --gid-owner {PROXY_GROUP} -j RETURN",
                     f"OUTPUT -p tcp -m owner --gid-owner {PROXY_GROUP} -j RETURN",
                     "OUTPUT -p tcp -d 127.0.0.1/32 -j RETURN",
                     f"OUTPUT -p tcp -j REDIRECT --to-ports {envoy.REDIRECT_OUTBOUND}"):
            run("ip", "netns", "exec", namespace, "iptables", "-t", "nat", "-A", *rule.split())

    def start(self, namespace, log, *command):
        with open(self.out / f"{log}.log", "ab") as file:
            process = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        self.processes.append(process)
        return process

    def wait_port(self, namespace, port):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if f":{port} " in run("ip", "netns", "exec", namespace, "ss", "-Hltn").stdout:
                return
            time.sleep(0.1)
        raise SystemExit(f"port {port} in {namespace} never opened: see {self.out}")

    def up(self):
        accounts = sorted({f"{pod.namespace}.{pod.workload}" for pod in self.case.pods if pod.proxied})
        run("bash", str(HERE / "pki.sh"), str(self.out / "pki"), *accounts)
        self.network()
        waits = []
        for pod in self.case.pods:
            name = self.namespace(pod)
            served = [f"{p.kind}:{p.number}" for p in pod.ports if p.kind != "grpc"]
            hidden = [item for item in served if pod.proxied and not pod.redirected and pod.port(int(item.split(":")[1])).mode != "EXCLUDED"]
            for at, items in (("127.0.0.1", hidden), (pod.address, [item for item in served if item not in hidden])):
                if items:
                    self.start(name, f"application.{pod.namespace_of_network}", sys.executable, str(HERE / "workload.py"), at, str(self.out), *items)
                waits += [(name, int(item.split(":")[1])) for item in served]
            if pod.proxied:
                path = envoy.Configuration(self.case, pod, str(self.out)).write()
                self.start(name, f"envoy.{pod.namespace_of_network}", "setpriv", "--regid", PROXY_GROUP, "--clear-groups",
                           ENVOY, "-c", path, "--disable-hot-restart", "--concurrency", "1", "-l", "warning")
                waits.append((name, pod.servers[0].port if pod.servers else 15008 if pod.kind == AMBIENT and pod.ports
                              else envoy.REDIRECT_OUTBOUND if pod.redirected else 20000 if pod.calls else 15021))
        for name, port in waits:
            self.wait_port(name, port)

    def down(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=20)
        for name in self.namespaces:
            run("ip", "netns", "del", name, check=False)

    def note(self, text):
        self.calls.write(text + "\n")
        self.calls.flush()
        print(text, flush=True)

    def client(self, namespace, *arguments):
        return run("ip", "netns", "exec", namespace, sys.executable, str(HERE / "client.py"), *arguments, check=False).stdout.strip()

    def call(self, source, to, port, times=1, tls=None, **options):
        """The application of `source` calls through its proxy."""
        pod = self.case.workload(source)[0]
        call = envoy.call_of(pod, to, port, tls)
        kind = call.kind or next((p.kind for p in self.case.workload(to)[0].ports if p.number == port), "http")
        ip, dialled = envoy.dialled(self.case, pod, call)
        for _ in range(times):
            got = self.client(self.namespace(pod), kind, ip, str(dialled), f"keylog={self.out}/keys.client.log",
                              *(f"{key}={value}" for key, value in options.items()))
            self.note(f"{source} -> {to}:{port} by proxy: {got!r}")
            time.sleep(0.15)

    def direct(self, source, to, port, kind="http", times=1, **options):
        """A process in `source` connects by itself, with no proxy between."""
        pod = self.case.workload(source)[0]
        target = self.case.workload(to)[0]
        arguments = [f"{key}={value}" for key, value in options.items()]
        if kind == "tls":
            arguments.append(f"keylog={self.out}/keys.client.log")
        for _ in range(times):
            got = self.client(self.namespace(pod), kind, target.address, str(port), *arguments)
            self.note(f"{source} -> {to}:{port} {kind} {options.get('sni', '')}: {got!r}")
            time.sleep(0.15)

    def probe(self, to, port=15021, times=1):
        """The kubelet, from the node's own address."""
        for pod in self.case.workload(to):
            for _ in range(times):
                self.note(f"node -> {pod.name}:{port} probe: {self.client(self.node, 'http', pod.address, str(port), 'path=/healthz/ready')!r}")

    def certificate(self, name):
        return str(self.out / "pki" / name)

    def capture(self):
        capture, errors = self.out / "capture.pcap", self.out / "tcpdump.log"
        where, interface = self.node, ["br0"]
        if self.case.capture_in:
            where, interface = self.namespace(self.case.workload(self.case.capture_in)[0]), ["any", "-y", "LINUX_SLL2"]
        process = self.start(where, "tcpdump", "tcpdump", "-q", "-n", "-i", *interface, "-s", "0", "-B", "65536", "-U", "--immediate-mode",
                             "-Z", "root", "-w", str(capture), "tcp")
        while "listening on" not in errors.read_text():
            time.sleep(0.1)
        self.case.traffic(self)
        time.sleep(1.2)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        if "\n0 packets dropped by kernel" not in errors.read_text():
            raise SystemExit(f"tcpdump lost packets: see {errors}")

    def mesh(self):
        policies = (HERE / "cases" / f"{self.name}.policy.yaml").read_text()
        (self.out / "mesh.yaml").write_text("---\n".join([*inventory.documents(self.case), policies]))


def main():
    name, out = sys.argv[1:3]
    lab = Lab(name, out, sys.argv[3] if len(sys.argv) > 3 else "wp")
    lab.out.mkdir(parents=True, exist_ok=True)
    lab.mesh()
    if os.environ.get("MESH_ONLY"):
        return
    with open(lab.out / "calls.txt", "w") as lab.calls:
        try:
            lab.up()
            lab.capture()
        finally:
            lab.down()


if __name__ == "__main__":
    main()
