"""What a case is made of: pods, the ports that they serve, the calls that their proxies make.

A case file (cases/NAME.py) states these once. envoy.py turns them into what runs, inventory.py into what a cluster would
return; the policies (cases/NAME.policy.yaml) are written by hand. Where a case is about a proxy that does not do what is
declared, `mode` here says what it does and the policy says what it should.
"""
from dataclasses import dataclass, field

SIDECAR, GATEWAY, AMBIENT, NO_PROXY = "sidecar", "gateway", "ambient", "no-proxy"
REMOTE = "remote"  # a sidecar of another cluster: in no object of this one
OUTSIDE = "outside"  # a client outside the cluster
EXTERNAL = "external"  # a server outside the cluster; a ServiceEntry names it


@dataclass
class Port:
    """A container port. `mode` is what the running proxy enforces there (EXCLUDED: the port is not redirected to it); without
    a proxy it is not used."""

    number: int
    name: str
    mode: str = "PERMISSIVE"
    # What the application speaks: http, grpc, tcp, tls, mtls (TLS that demands a partner's certificate), opaque-http (HTTP
    # behind a port that is declared TCP).
    kind: str = "http"
    service_port: int | None = None  # absent: the same number


@dataclass
class Call:
    """An outbound cluster of a proxy: `to` is namespace/workload, `port` the container port."""

    to: str
    port: int
    tls: str = "ISTIO_MUTUAL"  # ISTIO_MUTUAL, SIMPLE, MUTUAL, DISABLE, HBONE
    sni: str | None = None
    kind: str | None = None  # what the client's own application speaks; absent: as the port
    ca: str | None = None  # what SIMPLE and MUTUAL verify the server against; absent: nothing
    dial: int | None = None  # in a pod with redirection: the Service port dialled; absent: the container port


@dataclass
class Server:
    """A server of the gateway's listener. `tls` is what the running gateway does; `call` is where its route leads. Without a
    route HTTP is answered with 404, and a server that passes TLS on has no filter chain."""

    port: int
    tls: str | None
    hosts: list[str]
    call: Call | None
    http: bool = True


@dataclass
class Pod:
    namespace: str
    workload: str
    address: str
    kind: str = SIDECAR
    ports: list[Port] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)  # of a gateway
    gateway_ports: list[tuple[int, int, str]] = field(default_factory=list)  # Service port, container port, name
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    replica: int = 0
    headless: bool = False  # its Service has no virtual address
    # Redirection by iptables as istio-init sets it up, with Envoy on 15001 and 15006; without it Envoy binds the pod's ports.
    redirected: bool = False

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.workload}"

    @property
    def namespace_of_network(self) -> str:
        """The network namespace that stands for the pod."""
        return f"{self.workload}-{self.replica}"

    @property
    def proxied(self) -> bool:
        return self.kind in (SIDECAR, GATEWAY, AMBIENT, REMOTE)

    def host(self) -> str:
        return f"{self.workload}.{self.namespace}.svc.cluster.local"

    def port(self, number: int) -> Port:
        return next(port for port in self.ports if port.number == number)


@dataclass
class Case:
    pods: list[Pod]
    traffic: object  # a function that takes the running lab
    injected: list[str]  # namespaces with the injection label
    uninjected: list[str]
    ambient: list[str] = field(default_factory=list)
    mesh_config: dict[str, str] = field(default_factory=dict)
    capture_in: str | None = None  # the workload in whose pod all interfaces are captured; absent: the node's bridge

    def workload(self, name: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.name == name]
