"""An ambient namespace: HBONE between its pods, and a client outside the mesh."""
from model import AMBIENT, NO_PROXY, Call, Case, Pod, Port

SEARCH, FRONTEND, CRON = "shop/search", "shop/frontend", "batch/nightly"


def traffic(lab):
    for _ in range(2):
        lab.call(FRONTEND, SEARCH, 8080, times=2)
        lab.direct(CRON, SEARCH, 8080, path="/export")


CASE = Case(
    injected=[],
    uninjected=["istio-system", "batch"],
    ambient=["shop"],
    traffic=traffic,
    pods=[
        Pod("shop", "frontend", "10.20.2.21", AMBIENT, calls=[Call(SEARCH, 8080, "HBONE")]),
        Pod("shop", "search", "10.20.2.22", AMBIENT, ports=[Port(8080, "http", service_port=80)]),
        Pod("batch", "nightly", "10.20.6.61", NO_PROXY),
    ],
)
