"""VirtualServices that do not fit the Gateway they are bound to, and what their clients get."""
from model import GATEWAY, NO_PROXY, OUTSIDE, Call, Case, Pod, Port, Server

INGRESS, ORDERS, VAULT, SHOPPER = "istio-system/istio-ingressgateway", "shop/orders", "shop/vault", "outside/shopper"


def traffic(lab):
    for _ in range(2):
        for host in ("shop", "account", "vault", "blog"):
            lab.direct(SHOPPER, INGRESS, 8443, "tls", sni=f"{host}.example.com")


CASE = Case(
    injected=["shop"],
    uninjected=["istio-system"],
    traffic=traffic,
    pods=[
        Pod("istio-system", "istio-ingressgateway", "10.20.1.10", GATEWAY, gateway_ports=[(15021, 15021, "status-port"), (443, 8443, "https")],
            servers=[Server(8443, "SIMPLE", ["shop.example.com"], Call(ORDERS, 8080)),
                     Server(8443, "SIMPLE", ["account.example.com"], None),
                     Server(8443, "PASSTHROUGH", ["vault.example.com"], None, http=False)]),
        Pod("shop", "orders", "10.20.2.21", ports=[Port(8080, "http", "STRICT", service_port=80)]),
        Pod("shop", "vault", "10.20.2.22", NO_PROXY, ports=[Port(8200, "tls-vault", kind="tls")]),
        Pod("outside", "shopper", "203.0.113.10", OUTSIDE),
    ],
)
