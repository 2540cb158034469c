"""A shop in the middle of its move to mTLS: what `make demo` shows."""
from model import GATEWAY, NO_PROXY, OUTSIDE, Call, Case, Pod, Port, Server

FRONTEND, SEARCH, CHECKOUT, LEDGER, INVENTORY = "web/frontend", "catalog/search", "orders/checkout", "payments/ledger", "legacy/inventory"
CRON, PROMETHEUS, INGRESS = "batch/cron-pay", "monitoring/prometheus", "istio-system/istio-ingressgateway"
SEARCH_PORTS = [Port(8080, "http", "PERMISSIVE", service_port=80), Port(9000, "tcp-suggest", "PERMISSIVE", "tcp")]


def traffic(lab):
    for pod in (FRONTEND, SEARCH, LEDGER):
        lab.probe(pod)
    for _ in range(2):
        lab.direct("outside/shopper", INGRESS, 8443, "tls", sni="shop.example.com")
        lab.direct("outside/partner", INGRESS, 8443, "tls", sni="partners.example.com", path="/orders")
        lab.direct("outside/partner", INGRESS, 9443, "tls", sni="statements.example.com", path="/statement")
        lab.call(FRONTEND, SEARCH, 8080, times=3)
        lab.call(FRONTEND, CHECKOUT, 8080)
        lab.call(FRONTEND, INVENTORY, 8080, times=2)
        lab.call(CHECKOUT, LEDGER, 8080)
        lab.call(SEARCH, LEDGER, 9000)
        lab.direct(CRON, LEDGER, 8080, path="/payouts")
        lab.direct(PROMETHEUS, SEARCH, 8080, path="/metrics")
        lab.direct(PROMETHEUS, LEDGER, 15020, path="/stats/prometheus")
        lab.call(FRONTEND, LEDGER, 50051)
        lab.call(FRONTEND, SEARCH, 9000)


CASE = Case(
    injected=["web", "catalog", "orders", "payments"],
    uninjected=["istio-system", "batch", "monitoring", "legacy"],
    traffic=traffic,
    pods=[
        Pod("istio-system", "istio-ingressgateway", "10.20.1.10", GATEWAY,
            gateway_ports=[(15021, 15021, "status-port"), (80, 8080, "http2"), (443, 8443, "https"), (9443, 9443, "tls-statements")],
            servers=[Server(8443, "SIMPLE", ["shop.example.com"], Call(FRONTEND, 8080)),
                     # Declared MUTUAL; the running gateway never loaded it.
                     Server(8443, "SIMPLE", ["partners.example.com"], Call(FRONTEND, 8080)),
                     Server(9443, "PASSTHROUGH", ["statements.example.com"], Call(LEDGER, 8443), http=False)]),
        Pod("web", "frontend", "10.20.2.21", ports=[Port(8080, "http", "STRICT", service_port=80)],
            calls=[Call(SEARCH, 8080), Call(CHECKOUT, 8080), Call(INVENTORY, 8080, "DISABLE"), Call(LEDGER, 50051), Call(SEARCH, 9000)]),
        Pod("catalog", "search", "10.20.3.31", ports=SEARCH_PORTS, calls=[Call(LEDGER, 9000, "SIMPLE", LEDGER_SNI := "ledger.payments.svc.cluster.local")]),
        Pod("catalog", "search", "10.20.3.32", ports=SEARCH_PORTS, calls=[Call(LEDGER, 9000, "SIMPLE", LEDGER_SNI)], replica=1),
        Pod("orders", "checkout", "10.20.4.41", ports=[Port(8080, "http", "PERMISSIVE", service_port=80)], calls=[Call(LEDGER, 8080, "DISABLE")]),
        Pod("payments", "ledger", "10.20.5.51", ports=[
            Port(8080, "http", "STRICT", service_port=80), Port(9000, "tcp-feed", "STRICT", "tcp"), Port(50051, "grpc", "STRICT", "grpc"),
            Port(8443, "tls-statements", "STRICT", "tls")]),
        Pod("legacy", "inventory", "10.20.6.61", NO_PROXY, ports=[Port(8080, "http", service_port=80)]),
        Pod("batch", "cron-pay", "10.20.7.71", NO_PROXY),
        Pod("monitoring", "prometheus", "10.20.8.81", NO_PROXY),
        Pod("outside", "shopper", "203.0.113.10", OUTSIDE),
        Pod("outside", "partner", "203.0.113.20", OUTSIDE),
    ],
)
