"""What a case is made of: pods, the ports that they serve, the calls that their proxies make.

A case file (cases/NAME.py) states these once. envoy.py turns them into what runs, inventory.py into what a cluster would
return; the policies (cases/NAME.policy.yaml) are written by hand. Where a case is about a proxy that does not do what is
declared, `mode` here says what it does and the policy says what it should.
"""
from dataclasses import dataclass, field

SIDECAR, GATEWAY, AMBIENT, NO_PROXY = "sidecar", "gateway", "ambient", "no-proxy"
REMOTE = "remote"  # a sidecar of another cluster: in no object of this one
OUTSIDE = "outside"  # a client outside the cluster


@dataclass
class Port:
    """A container port. `mode` is what the running proxy enforces there; without a proxy it is not used."""

    number: int
    name: str
    mode: str = "PERMISSIVE"
    kind: str = "http"  # what the application speaks: http, grpc, tcp, tls
    service_port: int | None = None  # absent: the same number


@dataclass
class Call:
    """An outbound cluster of a proxy: `to` is namespace/workload, `port` the container port."""

    to: str
    port: int
    tls: str = "ISTIO_MUTUAL"  # ISTIO_MUTUAL, SIMPLE, DISABLE, HBONE
    sni: str | None = None


@dataclass
class Server:
    """A server of the gateway's listener. `tls` is what the running gateway does."""

    port: int
    tls: str | None
    hosts: list[str]
    call: Call | None  # absent for AUTO_PASSTHROUGH, which goes where the SNI says
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
    replica: int = 0

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

    def workload(self, name: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.name == name]
