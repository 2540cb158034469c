"""An application that speaks TLS to a host for which its sidecar originates TLS as well; and one that leaves it to the sidecar."""
from model import EXTERNAL, Call, Case, Pod, Port

FRONTEND, WWW, API = "web/frontend", "external/www", "external/api"


def traffic(lab):
    for _ in range(2):
        lab.call(FRONTEND, WWW, 443, sni="www.example.com")
        lab.call(FRONTEND, API, 443)


CASE = Case(
    injected=["web"],
    uninjected=[],
    traffic=traffic,
    capture_in=FRONTEND,
    pods=[
        Pod("web", "frontend", "10.20.1.11", redirected=True, calls=[
            Call(WWW, 443, "SIMPLE", "www.example.com", kind="tls", ca="public-ca"),
            Call(API, 443, "SIMPLE", "api.example.com", kind="http", ca="public-ca", dial=80)]),
        Pod("external", "www", "198.51.100.14", EXTERNAL, ports=[Port(443, "https", kind="tls")]),
        Pod("external", "api", "198.51.100.11", EXTERNAL, ports=[Port(443, "https", kind="tls")]),
    ],
)
