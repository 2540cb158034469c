"""Inbound connections under PERMISSIVE, STRICT and DISABLE, from a client outside the mesh and from a sidecar."""
from model import NO_PROXY, OUTSIDE, Call, Case, Pod, Port

CATALOG, LEDGER, METRICS = "shop/catalog", "shop/ledger", "shop/metrics"
FRONTEND, IMPORTER, PARTNER = "web/frontend", "legacy/importer", "outside/partner"


def ports(mode):
    return [Port(8080, "http", mode, service_port=80), Port(9000, "tcp-feed", mode, "tcp"), Port(8443, "tls-api", mode, "tls")]


def traffic(lab):
    scraper = lab.certificate("web.frontend")
    for to in (CATALOG, LEDGER, METRICS):
        lab.direct(IMPORTER, to, 8080, path="/export")
        lab.direct(IMPORTER, to, 9000, "tcp", first=1)
        lab.direct(IMPORTER, to, 8443, "tls", sni=f"{to[5:]}.shop.svc.cluster.local")
        lab.direct(PARTNER, to, 8080, path="/export")
        lab.call(FRONTEND, to, 8080)
        lab.call(FRONTEND, to, 9000)
        lab.call(FRONTEND, to, 8443, sni=f"{to[5:]}.shop.svc.cluster.local")
    # The mesh's own certificate, but no ALPN of Istio's: a scraper.
    lab.direct(IMPORTER, CATALOG, 8443, "tls", certificate=scraper, path="/metrics")
    lab.direct(IMPORTER, LEDGER, 8080, "tls", certificate=scraper, path="/metrics")
    lab.direct(IMPORTER, METRICS, 8443, "tls", certificate=scraper, path="/metrics")


CASE = Case(
    injected=["shop", "web"],
    uninjected=["legacy"],
    traffic=traffic,
    pods=[
        Pod("shop", "catalog", "10.20.2.21", ports=ports("PERMISSIVE")),
        Pod("shop", "ledger", "10.20.2.22", ports=ports("STRICT")),
        Pod("shop", "metrics", "10.20.2.23", ports=ports("DISABLE")),
        Pod("web", "frontend", "10.20.3.31", calls=[Call(to, port, tls) for to, tls in ((CATALOG, "ISTIO_MUTUAL"), (LEDGER, "ISTIO_MUTUAL"), (METRICS, "DISABLE"))
                                                    for port in (8080, 9000, 8443)]),
        Pod("legacy", "importer", "10.20.4.41", NO_PROXY),
        Pod("outside", "partner", "203.0.113.20", OUTSIDE),
    ],
)
