"""One ingress gateway and every kind of server on it; and an east-west port."""
from model import GATEWAY, NO_PROXY, OUTSIDE, REMOTE, Call, Case, Pod, Port, Server

ORDERS, VAULT, INGRESS, EASTWEST = "shop/orders", "shop/vault", "istio-system/istio-ingressgateway", "istio-system/istio-eastwestgateway"
EASTWEST_SNI = "outbound_.80_._.orders.shop.svc.cluster.local"


def traffic(lab):
    partner = lab.certificate("partner")
    for _ in range(2):
        lab.direct("outside/shopper", INGRESS, 8080, sni="www.example.com")
        lab.direct("outside/shopper", INGRESS, 8443, "tls", sni="shop.example.com")
        lab.direct("outside/partner", INGRESS, 8443, "tls", sni="partners.example.com", certificate=partner)
        lab.direct("outside/shopper", INGRESS, 8443, "tls", sni="account.example.com")
        lab.direct("outside/partner", INGRESS, 8443, "tls", sni="account.example.com", certificate=partner)
        lab.direct("outside/shopper", INGRESS, 9443, "tls", sni="vault.example.com")
        lab.call("remote/cart", EASTWEST, 15443)
    lab.direct("outside/shopper", INGRESS, 8443, "tls", sni="partners.example.com")  # no certificate: refused
    lab.direct("outside/shopper", INGRESS, 8443, "http", sni="shop.example.com")  # HTTP to the HTTPS port
    lab.direct("outside/shopper", INGRESS, 8080, "tls", sni="www.example.com")  # TLS to the HTTP port
    lab.probe(INGRESS)


CASE = Case(
    injected=["shop"],
    uninjected=["istio-system"],
    traffic=traffic,
    pods=[
        Pod("istio-system", "istio-ingressgateway", "10.20.1.10", GATEWAY,
            gateway_ports=[(15021, 15021, "status-port"), (80, 8080, "http2"), (443, 8443, "https"), (9443, 9443, "tls-vault")],
            servers=[Server(8080, None, ["*"], Call(ORDERS, 8080)),
                     Server(8443, "SIMPLE", ["shop.example.com"], Call(ORDERS, 8080)),
                     Server(8443, "MUTUAL", ["partners.example.com"], Call(ORDERS, 8080)),
                     Server(8443, "OPTIONAL_MUTUAL", ["account.example.com"], Call(ORDERS, 8080)),
                     Server(9443, "PASSTHROUGH", ["vault.example.com"], Call(VAULT, 8200, "DISABLE"), http=False)]),
        Pod("istio-system", "istio-eastwestgateway", "10.20.1.11", GATEWAY, labels={"istio": "eastwestgateway", "topology.istio.io/network": "network-1"},
            gateway_ports=[(15021, 15021, "status-port"), (15443, 15443, "tls")],
            servers=[Server(15443, "AUTO_PASSTHROUGH", [EASTWEST_SNI], Call(ORDERS, 8080))]),
        Pod("shop", "orders", "10.20.2.21", ports=[Port(8080, "http", "STRICT", service_port=80)]),
        Pod("shop", "vault", "10.20.2.22", NO_PROXY, ports=[Port(8200, "tls-vault", kind="tls")]),
        Pod("outside", "shopper", "203.0.113.10", OUTSIDE),
        Pod("outside", "partner", "203.0.113.20", OUTSIDE),
        # A sidecar of another cluster: its address is in no object of this one.
        Pod("remote", "cart", "10.30.2.21", REMOTE, calls=[Call(EASTWEST, 15443, sni=EASTWEST_SNI)]),
    ],
)
