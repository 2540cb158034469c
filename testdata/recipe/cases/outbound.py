"""Outbound connections of a sidecar under each DestinationRule mode, to servers outside the mesh and inside it."""
from model import EXTERNAL, NO_PROXY, Call, Case, Pod, Port

FRONTEND = "web/frontend"
FEED, API, PAY, PARTS, WWW = "external/feed", "external/api", "external/pay", "external/parts", "external/www"
CATALOG, ORDERS, VAULT, SAFE, PRINTER = "shop/catalog", "shop/orders", "legacy/vault", "legacy/safe", "legacy/printer"
HTTP = [Port(8080, "http", "PERMISSIVE", service_port=80)]


def traffic(lab):
    for _ in range(2):
        for call in lab.case.workload(FRONTEND)[0].calls:
            options = {"sni": "www.example.com"} if call.to == WWW else {}
            lab.call(FRONTEND, call.to, call.port, **options)


CASE = Case(
    injected=["web", "shop"],
    uninjected=["legacy"],
    traffic=traffic,
    pods=[
        Pod("web", "frontend", "10.20.1.11", calls=[
            Call(FEED, 80, "DISABLE"),
            Call(API, 443, "SIMPLE", "api.example.com", kind="http", ca="public-ca"),
            Call(PAY, 443, "MUTUAL", "pay.example.com", kind="http", ca="public-ca"),
            # The mesh's own certificate, ALPN and SNI to a server that knows nothing of the mesh.
            Call(PARTS, 443, "ISTIO_MUTUAL", "outbound_.80_._.parts.example.com", kind="http"),
            Call(WWW, 443, "DISABLE"),
            Call(CATALOG, 8080, "DISABLE"),
            Call(ORDERS, 8080),
            Call(VAULT, 8200, "SIMPLE", "vault.legacy.svc.cluster.local", kind="http", ca="public-ca"),
            Call(SAFE, 8200, "MUTUAL", "safe.legacy.svc.cluster.local", kind="http", ca="public-ca"),
            Call(PRINTER, 8080)]),
        Pod("shop", "catalog", "10.20.2.21", ports=HTTP),
        Pod("shop", "orders", "10.20.2.22", ports=HTTP),
        Pod("legacy", "vault", "10.20.3.31", NO_PROXY, ports=[Port(8200, "http", kind="tls")]),
        Pod("legacy", "safe", "10.20.3.32", NO_PROXY, ports=[Port(8200, "http", kind="mtls")]),
        Pod("legacy", "printer", "10.20.3.33", NO_PROXY, ports=[Port(8080, "http", service_port=80)]),
        Pod("external", "feed", "198.51.100.10", EXTERNAL, ports=[Port(80, "http")]),
        Pod("external", "api", "198.51.100.11", EXTERNAL, ports=[Port(443, "https", kind="tls")]),
        Pod("external", "pay", "198.51.100.12", EXTERNAL, ports=[Port(443, "https", kind="mtls")]),
        Pod("external", "parts", "198.51.100.13", EXTERNAL, ports=[Port(443, "https", kind="tls")]),
        Pod("external", "www", "198.51.100.14", EXTERNAL, ports=[Port(443, "https", kind="tls")]),
    ],
)
