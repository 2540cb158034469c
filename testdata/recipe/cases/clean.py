"""Everything as declared: an audit of this case finds nothing."""
from model import GATEWAY, OUTSIDE, Call, Case, Pod, Port, Server

FRONTEND, SEARCH, LEDGER, INGRESS = "web/frontend", "catalog/search", "payments/ledger", "istio-system/istio-ingressgateway"


def traffic(lab):
    for _ in range(2):
        lab.probe(FRONTEND)
        lab.direct("outside/shopper", INGRESS, 8443, "tls", sni="shop.example.com")
        lab.direct("outside/partner", INGRESS, 8443, "tls", sni="partners.example.com", certificate=lab.certificate("partner"))
        lab.call(FRONTEND, SEARCH, 8080, times=2)
        lab.call(FRONTEND, LEDGER, 50051)
        lab.call(SEARCH, LEDGER, 9000)


CASE = Case(
    injected=["web", "catalog", "payments"],
    uninjected=["istio-system"],
    traffic=traffic,
    pods=[
        Pod("istio-system", "istio-ingressgateway", "10.20.1.10", GATEWAY,
            gateway_ports=[(15021, 15021, "status-port"), (443, 8443, "https")],
            servers=[Server(8443, "SIMPLE", ["shop.example.com"], Call(FRONTEND, 8080)),
                     Server(8443, "MUTUAL", ["partners.example.com"], Call(FRONTEND, 8080))]),
        Pod("web", "frontend", "10.20.2.21", ports=[Port(8080, "http", "STRICT", service_port=80)], calls=[Call(SEARCH, 8080), Call(LEDGER, 50051)]),
        Pod("catalog", "search", "10.20.3.31", ports=[Port(8080, "http", "STRICT", service_port=80)], calls=[Call(LEDGER, 9000)]),
        Pod("payments", "ledger", "10.20.5.51", ports=[Port(9000, "tcp-feed", "STRICT", "tcp"), Port(50051, "grpc", "STRICT", "grpc")]),
        Pod("outside", "shopper", "203.0.113.10", OUTSIDE),
        Pod("outside", "partner", "203.0.113.20", OUTSIDE),
    ],
)
