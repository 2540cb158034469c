"""HTTPS to ports that are declared HTTP, and HTTP to a port that speaks TLS."""
from model import EXTERNAL, GATEWAY, NO_PROXY, OUTSIDE, Call, Case, Pod, Port, Server

FRONTEND, IMPORTER, SHOPPER, OLD = "web/frontend", "legacy/importer", "outside/shopper", "external/old"
CATALOG, LEDGER, METRICS, STORE, INGRESS = "shop/catalog", "shop/ledger", "shop/metrics", "shop/store", "istio-system/istio-ingressgateway"


def traffic(lab):
    for _ in range(2):
        for to in (CATALOG, LEDGER, METRICS):
            lab.direct(IMPORTER, to, 8080, "tls", sni=f"{to[5:]}.shop.svc.cluster.local")
        lab.direct(IMPORTER, STORE, 8443, "tls", sni="store.shop.svc.cluster.local")
        lab.direct(SHOPPER, INGRESS, 8080, "tls", sni="www.example.com")
        lab.direct(SHOPPER, INGRESS, 8080, sni="www.example.com")
        lab.call(FRONTEND, OLD, 443)


CASE = Case(
    injected=["web", "shop"],
    uninjected=["istio-system", "legacy"],
    traffic=traffic,
    pods=[
        Pod("istio-system", "istio-ingressgateway", "10.20.1.10", GATEWAY, gateway_ports=[(15021, 15021, "http-status"), (80, 8080, "http2")],
            servers=[Server(8080, None, ["*"], Call(CATALOG, 8080))]),
        Pod("web", "frontend", "10.20.1.11", calls=[Call(OLD, 443, "DISABLE", kind="http")]),
        Pod("shop", "catalog", "10.20.2.21", ports=[Port(8080, "http", "PERMISSIVE", service_port=80)]),
        Pod("shop", "ledger", "10.20.2.22", ports=[Port(8080, "http", "STRICT", service_port=80)]),
        Pod("shop", "metrics", "10.20.2.23", ports=[Port(8080, "http", "DISABLE", service_port=80)]),
        # Its Service names port 443 http.
        Pod("shop", "store", "10.20.2.24", ports=[Port(8443, "http", "PERMISSIVE", service_port=443)]),
        Pod("legacy", "importer", "10.20.3.31", NO_PROXY),
        Pod("external", "old", "198.51.100.15", EXTERNAL, ports=[Port(443, "https", kind="tls")]),
        Pod("outside", "shopper", "203.0.113.10", OUTSIDE),
    ],
)
