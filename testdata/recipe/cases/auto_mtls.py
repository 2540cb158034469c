"""Auto mTLS: no DestinationRule anywhere; what the endpoint is decides what the client's sidecar sends."""
from model import NO_PROXY, Call, Case, Pod, Port

FRONTEND = "web/frontend"
CART, STOCK, REPORT, AUDIT, MIXED, VAULT = "shop/cart", "shop/stock", "shop/report", "shop/audit", "shop/mixed", "bank/vault"
HTTP = [Port(8080, "http", "PERMISSIVE", service_port=80)]


def traffic(lab):
    for _ in range(2):
        for call in lab.case.workload(FRONTEND)[0].calls:
            lab.call(FRONTEND, call.to, call.port)
    for _ in range(2):
        lab.call(FRONTEND, MIXED, 8080)  # both endpoints
    lab.direct(FRONTEND, CART, 8080, path="/by-address")  # the pod's own address: the sidecar knows no Service for it


CASE = Case(
    injected=["web", "shop", "bank"],
    uninjected=[],
    traffic=traffic,
    pods=[
        Pod("web", "frontend", "10.20.1.11", calls=[
            Call(CART, 8080), Call(CART, 50051), Call(CART, 9000), Call(STOCK, 8080, "DISABLE"), Call(REPORT, 8080, "DISABLE"),
            Call(AUDIT, 9000), Call(MIXED, 8080, "DISABLE"), Call(VAULT, 8080, "DISABLE")]),
        Pod("shop", "cart", "10.20.2.21", ports=[*HTTP, Port(50051, "grpc", "PERMISSIVE", "grpc"), Port(9000, "tcp", "PERMISSIVE", "tcp")]),
        Pod("shop", "stock", "10.20.2.22", NO_PROXY, ports=HTTP),
        Pod("shop", "report", "10.20.2.23", ports=[Port(8080, "http", "DISABLE", service_port=80)]),
        # Clients cannot see that the port is not redirected: its endpoint is labelled for Istio mTLS (istio/istio issue 30311).
        Pod("shop", "audit", "10.20.2.24", ports=[Port(9000, "http", "EXCLUDED")], annotations={"traffic.sidecar.istio.io/excludeInboundPorts": '"9000"'}),
        # Headless, one endpoint with a sidecar and one without: plaintext to both.
        Pod("shop", "mixed", "10.20.2.25", headless=True, ports=[Port(8080, "http", "PERMISSIVE")]),
        Pod("shop", "mixed", "10.20.2.26", NO_PROXY, headless=True, ports=[Port(8080, "http")], replica=1),
        Pod("bank", "vault", "10.20.3.31", ports=[Port(8080, "http", "STRICT", service_port=80)]),
    ],
)
