"""Writes one Envoy configuration a pod, as JSON (Envoy reads JSON wherever it reads YAML).

The wire looks like an Istio sidecar mesh: SPIFFE certificates (RSA-2048, as Istio issues them), SNI
`outbound_.PORT_._.HOST`, Istio's ALPN lists, STRICT / PERMISSIVE / DISABLE inbound listeners, ISTIO_MUTUAL / SIMPLE /
MUTUAL / DISABLE outbound clusters, gateway servers chosen by SNI. Most pods have no iptables redirection: an inbound
listener is bound to the pod's address and container port itself and the application to 127.0.0.1, so the packets between
pods are the same. A redirected pod has Istio's listeners on 15001 and 15006, and the legs on `lo` that come with them.
"""
import json

from inventory import services, virtual_address
from model import AMBIENT, GATEWAY, Call, Case, Pod

T = "type.googleapis.com/envoy."
CIPHERS = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256",
           "ECDHE-RSA-AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-GCM-SHA256"]
ALPN = {"http": ("istio-http/1.1", "istio", "http/1.1"), "grpc": ("istio-h2", "istio", "h2"),
        "tcp": ("istio-peer-exchange", "istio")}
ISTIO_HTTP = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
ISTIO_TCP = ["istio-peer-exchange", "istio"]
FIRST_LOCAL_PORT = 20000


REDIRECT_OUTBOUND, REDIRECT_INBOUND, INBOUND_SOURCE = 15001, 15006, "127.0.0.6"
ORIGINAL_DESTINATION = {"name": "envoy.filters.listener.original_dst", "typed_config": {
    "@type": T + "extensions.filters.listener.original_dst.v3.OriginalDst"}}


def call_of(pod: Pod, to: str, port: int, tls: str | None = None) -> Call:
    """The pod's call of that destination; `tls` tells several apart."""
    return next(call for call in pod.calls if (call.to, call.port) == (to, port) and tls in (None, call.tls))


def dialled(case: Case, pod: Pod, call: Call) -> tuple[str, int]:
    """Where the pod's application connects to: the Service's address, or the proxy's listener on 127.0.0.1."""
    if not pod.redirected:
        return "127.0.0.1", FIRST_LOCAL_PORT + pod.calls.index(call)
    names = services(case)
    ip = virtual_address(names.index(call.to) + 1) if call.to in names else case.workload(call.to)[0].address
    return ip, call.dial or call.port


def address(ip, port):
    return {"socket_address": {"address": ip, "port_value": port}}



def http_filter(routes):
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": T + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http", "codec_type": "AUTO", "http2_protocol_options": {"allow_connect": True},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": T + "extensions.filters.http.router.v3.Router"}}]}}


def to_cluster(name):
    return [{"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "5s"}}]


def answer(text, headers=()):
    return [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}},
             "response_headers_to_add": [{"header": {"key": k, "value": v}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                                         for k, v in headers]}]


def connect_to(name):
    return [{"match": {"connect_matcher": {}}, "route": {
        "cluster": name, "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}}]


def tcp_filter(cluster, tunnel=None):
    config = {"@type": T + "extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": cluster, "cluster": cluster}
    if tunnel:
        config["tunneling_config"] = {"hostname": tunnel}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def chain(filters, tls=None, match=None):
    result = {"filters": [filters]}
    if tls:
        result["transport_socket"] = tls
    if match:
        result["filter_chain_match"] = match
    return result


def listener(name, ip, port, chains, inspect=False):
    result = {"name": name, "address": address(ip, port), "filter_chains": chains}
    if inspect:
        result["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector", "typed_config": {
            "@type": T + "extensions.filters.listener.tls_inspector.v3.TlsInspector"}}]
        result["listener_filters_timeout"] = "0.3s"
        result["continue_on_listener_filters_timeout"] = True
    return result


class Configuration:
    """The configuration of one pod's proxy."""

    def __init__(self, case: Case, pod: Pod, out: str):
        self.case, self.pod, self.out = case, pod, out
        self.listeners, self.clusters = [], []

    def common(self, certificate, ca, alpn):
        # The key log is for checking the ground truth afterwards (truth.py); it never leaves the output folder.
        context = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3",
                                  "cipher_suites": CIPHERS},
                   "key_log": {"path": f"{self.out}/keys.{self.pod.namespace_of_network}.log"}}
        if alpn:
            context["alpn_protocols"] = list(alpn)
        if certificate:
            pair = f"{self.out}/pki/{certificate}"
            context["tls_certificates"] = [{"certificate_chain": {"filename": pair + ".crt"}, "private_key": {"filename": pair + ".key"}}]
        if ca:
            context["validation_context"] = {"trusted_ca": {"filename": f"{self.out}/pki/{ca}.crt"}}
        return context

    @property
    def identity(self):
        return f"{self.pod.namespace}.{self.pod.workload}"

    def downstream(self, certificate, ca=None, require=False, alpn=("h2", "http/1.1")):
        return {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": T + "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": self.common(certificate, ca, alpn), "require_client_certificate": require}}

    def upstream(self, call, kind, target):
        sni = call.sni
        certificate, ca, alpn, sessions = self.identity, "mesh-ca", ALPN.get(kind, ALPN["tcp"]), 1
        if call.tls == "ISTIO_MUTUAL" and not sni:
            service_port = target.port(call.port).service_port or call.port
            sni = f"outbound_.{service_port}_._.{target.host()}"
        elif call.tls == "SIMPLE":
            certificate, ca, alpn = None, call.ca, ()
        elif call.tls == "MUTUAL":
            certificate, ca, alpn = "partner", call.ca, ()
        elif call.tls == "HBONE":
            alpn, sessions = ("h2",), 0  # ztunnel: ALPN h2, no SNI, no resumption
        config = {"@type": T + "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                  "common_tls_context": self.common(certificate, ca, alpn), "max_session_keys": sessions}
        if sni:
            config["sni"] = sni
        return {"name": "envoy.transport_sockets.tls", "typed_config": config}

    def cluster(self, name, addresses, port, tls=None, http=True, h2=False, source=None):
        result = {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": {
            "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(ip, port)}} for ip in addresses]}]}}
        if tls:
            result["transport_socket"] = tls
        if source:
            result["upstream_bind_config"] = {"source_address": {"address": source, "port_value": 0}}
        if http or h2:
            options = {"http2_protocol_options": {"allow_connect": True}} if h2 else {"http_protocol_options": {}}
            # One request a connection, so that new handshakes and resumptions happen within seconds.
            result["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": T + "extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"max_requests_per_connection": 1}, "explicit_http_config": options}}
        self.clusters.append(result)
        return name

    def call(self, call):
        targets = self.case.workload(call.to)
        addresses = [pod.address for pod in targets]
        kind = call.kind or (targets[0].port(call.port).kind if targets[0].kind != GATEWAY else "http")
        name = f"{call.to}:{call.port}".replace("/", ".") + f".{call.tls}"
        if any(c["name"] == name for c in self.clusters):
            return name, kind
        if call.tls == "HBONE":
            return self.cluster(name, addresses, 15008, self.upstream(call, kind, targets[0]), h2=True), kind
        tls = None if call.tls == "DISABLE" else self.upstream(call, kind, targets[0])
        return self.cluster(name, addresses, call.port, tls, http=kind == "http", h2=kind == "grpc"), kind

    def outbound(self):
        for call in self.pod.calls:
            name, kind = self.call(call)
            if call.tls == "HBONE":
                filters = tcp_filter(name, f"{self.case.workload(call.to)[0].address}:{call.port}")
            else:
                filters = http_filter(to_cluster(name)) if kind in ("http", "grpc") else tcp_filter(name)
            self.listeners.append(listener(name, *dialled(self.case, self.pod, call), [chain(filters)]))
            if self.pod.redirected:  # reached by way of the listener on 15001
                self.listeners[-1]["bind_to_port"] = False
        if self.pod.redirected:
            self.clusters.append({"name": "passthrough", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "2s"})
            outbound = listener("virtual-outbound", "0.0.0.0", REDIRECT_OUTBOUND, [chain(tcp_filter("passthrough"))])
            self.listeners.append({**outbound, "use_original_dst": True, "listener_filters": [ORIGINAL_DESTINATION]})

    def inbound(self):
        redirected = []
        for port in self.pod.ports:
            if port.mode == "EXCLUDED":
                continue
            at, source = (self.pod.address, INBOUND_SOURCE) if self.pod.redirected else ("127.0.0.1", None)
            application = self.cluster(f"application.{port.number}", [at], port.number, http=port.kind == "http", h2=port.kind == "grpc", source=source)
            opaque = self.cluster(f"opaque.{port.number}", [at], port.number, http=False, source=source)
            http = port.kind in ("http", "grpc")
            filters = http_filter(to_cluster(application)) if http else tcp_filter(application)
            mutual = self.downstream(self.identity, "mesh-ca", True, ("h2", "http/1.1") if http else ("istio-peer-exchange", "h2", "http/1.1"))
            if port.mode == "STRICT":
                chains, inspect = [chain(filters, mutual)], False
            elif port.mode == "PERMISSIVE":
                chains = [chain(filters, mutual, {"transport_protocol": "tls", "application_protocols": ISTIO_HTTP + ISTIO_TCP if http else ISTIO_TCP}),
                          chain(filters, None, {"transport_protocol": "raw_buffer"})]
                if not http:  # an HTTP port has no chain for other TLS
                    chains.append(chain(tcp_filter(opaque), None, {"transport_protocol": "tls"}))
                inspect = True
            else:
                chains, inspect = [chain(filters)], False
            if self.pod.redirected:
                redirected += [{**each, "filter_chain_match": {**each.get("filter_chain_match", {}), "destination_port": port.number}} for each in chains]
            else:
                self.listeners.append(listener(f"inbound.{port.number}", self.pod.address, port.number, chains, inspect))
            if port.kind == "grpc":  # the gRPC application is a listener too
                self.listeners.append(listener(f"application.{port.number}", "127.0.0.1", port.number, [chain(http_filter(
                    answer("ok", (("content-type", "application/grpc"), ("grpc-status", "0")))))]))
        if redirected:
            inbound = listener("virtual-inbound", "0.0.0.0", REDIRECT_INBOUND, redirected, inspect=True)
            inbound["listener_filters"].insert(0, ORIGINAL_DESTINATION)
            self.listeners.append(inbound)
        self.listeners.append(listener("readiness", self.pod.address, 15021, [chain(http_filter(answer("ready")))]))
        self.listeners.append(listener("metrics", self.pod.address, 15020, [chain(http_filter(answer("istio_requests_total 7\n")))]))

    def ambient(self):
        """ztunnel's HBONE listener, and the application's port without a proxy in front (PERMISSIVE)."""
        for port in self.pod.ports:
            name = self.cluster(f"application.{port.number}", ["127.0.0.1"], port.number, http=False)
            self.listeners.append(listener(f"direct.{port.number}", self.pod.address, port.number, [chain(tcp_filter(name))]))
            self.listeners.append(listener("hbone", self.pod.address, 15008, [chain(
                http_filter(connect_to(name)), self.downstream(self.identity, "mesh-ca", True, ("h2",)))]))

    def gateway(self):
        ports = {}
        for server in self.pod.servers:
            ports.setdefault(server.port, []).append(server)
        for port, servers in ports.items():
            chains = []
            for server in servers:
                match = None if server.hosts == ["*"] else {"server_names": server.hosts}
                if server.tls == "AUTO_PASSTHROUGH":
                    target = self.case.workload(server.call.to)[0]
                    name = self.cluster(f"auto.{server.call.port}", [target.address], server.call.port, http=False)
                    chains.append(chain(tcp_filter(name), None, match))
                    continue
                if server.call:
                    name, _ = self.call(server.call)
                    filters = http_filter(to_cluster(name)) if server.http else tcp_filter(name)
                elif server.tls == "PASSTHROUGH":
                    continue
                else:
                    filters = http_filter([])
                tls = {None: None, "PASSTHROUGH": None,
                       "SIMPLE": lambda: self.downstream("gateway-public"),
                       "MUTUAL": lambda: self.downstream("gateway-public", "partner-ca", True),
                       "OPTIONAL_MUTUAL": lambda: self.downstream("gateway-public", "partner-ca", False),
                       "ISTIO_MUTUAL": lambda: self.downstream(self.identity, "mesh-ca", True)}[server.tls]
                chains.append(chain(filters, tls and tls(), match if server.tls else None))
            self.listeners.append(listener(f"gateway.{port}", self.pod.address, port, chains, inspect=any(s.tls for s in servers)))
        self.listeners.append(listener("readiness", self.pod.address, 15021, [chain(http_filter(answer("ready")))]))

    def write(self):
        self.outbound()
        if self.pod.kind == GATEWAY:
            self.gateway()
        elif self.pod.kind == AMBIENT:
            self.ambient()
        else:
            self.inbound()
        path = f"{self.out}/{self.pod.namespace_of_network}.json"
        with open(path, "w") as file:
            json.dump({"node": {"id": self.pod.namespace_of_network, "cluster": "lab"},
                       "static_resources": {"listeners": self.listeners, "clusters": self.clusters}}, file, indent=1)
        return path
