"""An egress gateway: both legs encrypted, neither leg encrypted, and traffic that goes round it."""
from model import EXTERNAL, GATEWAY, Call, Case, Pod, Port, Server

FRONTEND, EGRESS, API, FEED = "web/frontend", "istio-system/istio-egressgateway", "external/api", "external/feed"


def traffic(lab):
    for _ in range(2):
        lab.call(FRONTEND, EGRESS, 8443)
        lab.call(FRONTEND, EGRESS, 8080)
    lab.direct(FRONTEND, FEED, 80)  # straight there, past the gateway


CASE = Case(
    injected=["web"],
    uninjected=["istio-system"],
    traffic=traffic,
    pods=[
        Pod("web", "frontend", "10.20.1.11", calls=[Call(EGRESS, 8443, sni="api.example.com"), Call(EGRESS, 8080, "DISABLE")]),
        Pod("istio-system", "istio-egressgateway", "10.20.2.12", GATEWAY, labels={"istio": "egressgateway"},
            gateway_ports=[(15021, 15021, "http-status"), (80, 8080, "http2"), (443, 8443, "https")],
            servers=[Server(8443, "ISTIO_MUTUAL", ["api.example.com"], Call(API, 443, "SIMPLE", "api.example.com", kind="http", ca="public-ca")),
                     Server(8080, None, ["*"], Call(FEED, 80, "DISABLE"))]),
        Pod("external", "api", "198.51.100.11", EXTERNAL, ports=[Port(443, "https", kind="tls")]),
        Pod("external", "feed", "198.51.100.10", EXTERNAL, ports=[Port(80, "http")]),
    ],
)
