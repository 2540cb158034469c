"""An ingress gateway with one server of every kind, each with a route that fits it."""
from model import GATEWAY, NO_PROXY, OUTSIDE, Call, Case, Pod, Port, Server

INGRESS, SHOPPER, PARTNER = "istio-system/istio-ingressgateway", "outside/shopper", "outside/partner"
ORDERS, FEED, DOCS, WIKI = "shop/orders", "shop/feed", "shop/docs", "legacy/wiki"


def traffic(lab):
    partner = lab.certificate("partner")
    for _ in range(2):
        lab.direct(SHOPPER, INGRESS, 8080, sni="www.example.com")
        lab.direct(SHOPPER, INGRESS, 9000, "tcp")
        lab.direct(SHOPPER, INGRESS, 8443, "tls", sni="shop.example.com")
        lab.direct(PARTNER, INGRESS, 8443, "tls", sni="partners.example.com", certificate=partner)
        lab.direct(SHOPPER, INGRESS, 8443, "tls", sni="docs.example.com")
        lab.direct(SHOPPER, INGRESS, 8443, "tls", sni="wiki.example.com")
        lab.direct(SHOPPER, INGRESS, 9443, "tls", sni="ledger.example.com")
    lab.direct(SHOPPER, INGRESS, 8443, "tls", sni="partners.example.com")  # without a certificate


CASE = Case(
    injected=["shop"],
    uninjected=["istio-system", "legacy"],
    traffic=traffic,
    pods=[
        Pod("istio-system", "istio-ingressgateway", "10.20.1.10", GATEWAY,
            gateway_ports=[(15021, 15021, "http-status"), (80, 8080, "http2"), (443, 8443, "https"), (9000, 9000, "tcp"), (9443, 9443, "tls")],
            servers=[Server(8080, None, ["*"], Call(ORDERS, 8080)),
                     Server(9000, None, ["*"], Call(FEED, 9000), http=False),
                     Server(8443, "SIMPLE", ["shop.example.com"], Call(ORDERS, 8080)),
                     Server(8443, "MUTUAL", ["partners.example.com"], Call(ORDERS, 8080)),
                     # The same port, passed on by SNI: to a sidecar inside Istio mTLS, and to a pod without one as it is.
                     Server(8443, "PASSTHROUGH", ["docs.example.com"], Call(DOCS, 8443), http=False),
                     Server(8443, "PASSTHROUGH", ["wiki.example.com"], Call(WIKI, 8443, "DISABLE"), http=False),
                     # TLS ends here, and what was inside goes on by TCP.
                     Server(9443, "SIMPLE", ["ledger.example.com"], Call(ORDERS, 8081), http=False)]),
        Pod("shop", "orders", "10.20.2.21", ports=[Port(8080, "http", "STRICT", service_port=80), Port(8081, "tcp-ledger", "STRICT", "opaque-http")]),
        Pod("shop", "feed", "10.20.2.22", ports=[Port(9000, "tcp", "STRICT", "tcp")]),
        Pod("shop", "docs", "10.20.2.23", ports=[Port(8443, "tls", "STRICT", "tls")]),
        Pod("legacy", "wiki", "10.20.3.31", NO_PROXY, ports=[Port(8443, "tls", kind="tls")]),
        Pod("outside", "shopper", "203.0.113.10", OUTSIDE),
        Pod("outside", "partner", "203.0.113.20", OUTSIDE),
    ],
)
