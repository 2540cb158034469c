"""Inside one pod: the legs on `lo` between the application and its sidecar, beside the legs outside it."""
from model import NO_PROXY, Call, Case, Pod, Port

FRONTEND, ORDERS, LEDGER, LEGACY = "web/frontend", "shop/orders", "shop/ledger", "legacy/inventory"
ORDERS_TLS, LEDGER_TLS = "orders.shop.svc.cluster.local", "ledger.shop.svc.cluster.local"


def ports(mode):
    return [Port(8080, "http", mode, service_port=80), Port(9000, "tcp-feed", mode, "tcp"), Port(8443, "tls-api", mode, "tls")]


def traffic(lab):
    lab.call(FRONTEND, ORDERS, 8080)
    lab.call(FRONTEND, ORDERS, 9000)
    lab.call(FRONTEND, ORDERS, 8443, sni=ORDERS_TLS)  # the application's TLS inside Istio's
    lab.call(ORDERS, LEDGER, 8080)
    lab.call(ORDERS, LEDGER, 9000)
    lab.call(ORDERS, LEDGER, 8443, sni=LEDGER_TLS)
    lab.call(ORDERS, LEGACY, 8080)  # no sidecar there
    lab.direct(ORDERS, ORDERS, 8080, path="/healthz")  # a container calls the pod's own address: never leaves it
    lab.direct(ORDERS, ORDERS, 15020, path="/stats/prometheus")
    lab.probe(ORDERS)


CASE = Case(
    injected=["shop", "web"],
    uninjected=["legacy"],
    traffic=traffic,
    capture_in=ORDERS,
    pods=[
        Pod("web", "frontend", "10.20.1.11", calls=[Call(ORDERS, 8080), Call(ORDERS, 9000), Call(ORDERS, 8443)]),
        Pod("shop", "orders", "10.20.2.21", redirected=True, ports=ports("STRICT"),
            calls=[Call(LEDGER, 8080, dial=80), Call(LEDGER, 9000), Call(LEDGER, 8443), Call(LEGACY, 8080, "DISABLE", dial=80)]),
        Pod("shop", "ledger", "10.20.2.22", ports=ports("STRICT")),
        Pod("legacy", "inventory", "10.20.4.41", NO_PROXY, ports=[Port(8080, "http", service_port=80)]),
    ],
)
