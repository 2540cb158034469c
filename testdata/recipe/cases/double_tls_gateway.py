"""A gateway that passes TLS on, to a destination for which it originates TLS as well; and one without."""
from model import GATEWAY, NO_PROXY, OUTSIDE, Call, Case, Pod, Port, Server

INGRESS, VAULT, SAFE, SHOPPER = "istio-system/istio-ingressgateway", "legacy/vault", "legacy/safe", "outside/shopper"


def traffic(lab):
    for _ in range(2):
        lab.direct(SHOPPER, INGRESS, 9443, "tls", sni="vault.example.com")
        lab.direct(SHOPPER, INGRESS, 9444, "tls", sni="safe.example.com")


CASE = Case(
    injected=[],
    uninjected=["istio-system", "legacy"],
    traffic=traffic,
    pods=[
        Pod("istio-system", "istio-ingressgateway", "10.20.1.10", GATEWAY, gateway_ports=[(15021, 15021, "http-status"), (9443, 9443, "tls-vault"), (9444, 9444, "tls-safe")],
            servers=[Server(9443, "PASSTHROUGH", ["vault.example.com"],
                            Call(VAULT, 8200, "SIMPLE", "vault.legacy.svc.cluster.local", kind="tls", ca="public-ca"), http=False),
                     Server(9444, "PASSTHROUGH", ["safe.example.com"], Call(SAFE, 8200, "DISABLE"), http=False)]),
        Pod("legacy", "vault", "10.20.2.21", NO_PROXY, ports=[Port(8200, "tls-vault", kind="tls")]),
        Pod("legacy", "safe", "10.20.2.22", NO_PROXY, ports=[Port(8200, "tls-safe", kind="tls")]),
        Pod("outside", "shopper", "203.0.113.10", OUTSIDE),
    ],
)
