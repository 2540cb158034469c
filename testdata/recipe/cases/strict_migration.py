"""A namespace that is about to become STRICT: who would break, and what is broken already."""
from model import NO_PROXY, Call, Case, Pod, Port

ORDERS, STOCK, FRONTEND, REPORTS = "orders/orders", "orders/stock", "web/frontend", "reports/reports"
CRON, PROMETHEUS, INVENTORY = "batch/nightly", "monitoring/prometheus", "legacy/inventory"


def traffic(lab):
    for _ in range(2):
        lab.call(FRONTEND, ORDERS, 8080, times=2)
        lab.call(FRONTEND, ORDERS, 9000)
        lab.direct(CRON, ORDERS, 8080, path="/export")
        lab.direct(PROMETHEUS, ORDERS, 8080, path="/metrics")
        lab.direct(CRON, ORDERS, 9000, "tcp")
        lab.call(REPORTS, ORDERS, 8080)
        lab.call(REPORTS, INVENTORY, 8080)
        lab.call(FRONTEND, STOCK, 8080)
    lab.direct(CRON, ORDERS, 8443, "tls", sni="orders.orders.svc.cluster.local")  # the application's own TLS
    lab.direct(CRON, ORDERS, 8080, "tls", sni="orders.orders.svc.cluster.local")  # HTTPS to an HTTP port
    lab.direct(FRONTEND, ORDERS, 8080, path="/warm-up")  # before its proxy was ready
    lab.direct(CRON, STOCK, 8080, path="/levels")  # STRICT, but the proxy still runs the old configuration


CASE = Case(
    injected=["orders", "web", "reports"],
    uninjected=["istio-system", "batch", "monitoring", "legacy"],
    traffic=traffic,
    pods=[
        Pod("orders", "orders", "10.20.2.21", ports=[Port(8080, "http", "PERMISSIVE", service_port=80), Port(9000, "tcp-feed", "PERMISSIVE", "tcp"),
                                                     Port(8443, "tls-api", "PERMISSIVE", "tls")]),
        Pod("orders", "stock", "10.20.2.22", ports=[Port(8080, "http", "PERMISSIVE", service_port=80)]),
        Pod("web", "frontend", "10.20.3.31", calls=[Call(ORDERS, 8080), Call(ORDERS, 9000), Call(STOCK, 8080)]),
        Pod("reports", "reports", "10.20.4.41", calls=[Call(ORDERS, 8080, "DISABLE"), Call(INVENTORY, 8080)]),
        Pod("legacy", "inventory", "10.20.5.51", NO_PROXY, ports=[Port(8080, "http", service_port=80)]),
        Pod("batch", "nightly", "10.20.6.61", NO_PROXY),
        Pod("monitoring", "prometheus", "10.20.7.71", NO_PROXY),
    ],
)
