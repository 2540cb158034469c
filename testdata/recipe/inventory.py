"""Writes what a cluster would return for a case's pods: Namespaces, Pods, Services, EndpointSlices, the mesh's ConfigMap.

Each object is written out as text, so that the file reads as kubectl prints it. Policies are not made here.
"""
from model import AMBIENT, EXTERNAL, GATEWAY, OUTSIDE, REMOTE, SIDECAR, Case, Pod

CREATED = "2026-03-02T08:00:00Z"
ISTIO_VERSION = "1.30.3"
NODE = "10.20.0.1"


def indent(text: str, by: int) -> str:
    return "".join(" " * by + line + "\n" for line in text.rstrip("\n").split("\n"))


def mapping(entries: dict[str, str], by: int) -> str:
    return "".join(" " * by + f"{key}: {value}\n" for key, value in entries.items())


def namespace(name: str, labels: dict[str, str]) -> str:
    labels = {"kubernetes.io/metadata.name": name, **labels}
    return f"""apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  creationTimestamp: "{CREATED}"
  labels:
{mapping(labels, 4)}"""


def mesh_config(entries: dict[str, str]) -> str:
    return f"""apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
  creationTimestamp: "{CREATED}"
data:
  mesh: |-
{mapping(entries, 4)}"""


def replica_set(pod: Pod) -> str:
    """The name that a Deployment gives to its ReplicaSet: a hash that only has to look like one."""
    letters = "bcdfghjklmnpqrstvwxz2456789"
    seed = sum((i + 7) * ord(c) for i, c in enumerate(pod.name))
    return pod.workload + "-" + "".join(letters[(seed * (i + 3) + i * i) % len(letters)] for i in range(9))


def pod_name(pod: Pod) -> str:
    letters = "bcdfghjklmnpqrstvwxz2456789"
    seed = sum(ord(c) for c in pod.name) + 11 * pod.replica
    return replica_set(pod) + "-" + "".join(letters[(seed * (i + 5) + i) % len(letters)] for i in range(5))


def container(name: str, image: str, ports: list[tuple[int, str]], arguments: tuple[str, ...] = ()) -> str:
    text = f"- name: {name}\n  image: {image}\n"
    if arguments:
        text += "  args:\n" + "".join(f"  - {argument}\n" for argument in arguments)
    if ports:
        text += "  ports:\n" + "".join(f"  - containerPort: {number}\n    name: {port}\n    protocol: TCP\n" for number, port in ports)
    return text


def pod_yaml(pod: Pod) -> str:
    owner = replica_set(pod)
    labels = {"app": pod.workload, "pod-template-hash": owner.rsplit("-", 1)[1], **pod.labels}
    annotations, containers, init = dict(pod.annotations), "", ""
    proxy_image = f"docker.io/istio/proxyv2:{ISTIO_VERSION}"
    if pod.kind == GATEWAY:
        labels.setdefault("istio", "ingressgateway")
        containers = container("istio-proxy", proxy_image, [(port, name) for _, port, name in pod.gateway_ports], ("proxy", "router"))
    else:
        containers = container(pod.workload, f"registry.example/{pod.workload}:4.2.0", [(p.number, p.name) for p in pod.ports])
    if pod.kind == SIDECAR:
        labels |= {"security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": pod.workload, "service.istio.io/canonical-revision": "latest"}
        annotations["sidecar.istio.io/status"] = "'" + '{"initContainers":["istio-init","istio-proxy"],"containers":null,"revision":"default"}' + "'"
        # Native sidecars are the default since 1.27: an init container that keeps running.
        init = container("istio-init", proxy_image, [], ("istio-iptables", "-p", '"15001"', "-z", '"15006"'))
        init += container("istio-proxy", proxy_image, [(15090, "http-envoy-prom")], ("proxy", "sidecar")) + "  restartPolicy: Always\n"
    if pod.kind == AMBIENT:
        annotations["ambient.istio.io/redirection"] = "enabled"
    text = f"""apiVersion: v1
kind: Pod
metadata:
  name: {pod_name(pod)}
  namespace: {pod.namespace}
  creationTimestamp: "{CREATED}"
  labels:
{mapping(labels, 4)}"""
    if annotations:
        text += "  annotations:\n" + mapping(annotations, 4)
    text += f"""  ownerReferences:
  - apiVersion: apps/v1
    kind: ReplicaSet
    name: {owner}
    controller: true
spec:
  serviceAccountName: {pod.workload}
  nodeName: node-1
"""
    if init:
        text += "  initContainers:\n" + indent(init, 2)
    return text + "  containers:\n" + indent(containers, 2) + f"""status:
  phase: Running
  hostIP: {NODE}
  podIP: {pod.address}
  podIPs:
  - ip: {pod.address}
"""


def virtual_address(number: int) -> str:
    """The ClusterIP of the case's Service of that number."""
    return f"10.96.{number // 200}.{10 + number % 200}"


def services(case: Case) -> list[str]:
    """The workloads with a Service, in the order of the Services' numbers, which begin with 1."""
    inside = [pod for pod in case.pods if pod.kind not in (OUTSIDE, REMOTE, EXTERNAL) and (pod.ports or pod.gateway_ports)]
    return list(dict.fromkeys(pod.name for pod in inside))


def service(pods: list[Pod], number: int) -> str:
    pod = pods[0]
    if pod.kind == GATEWAY:
        ports = [(outer, inner, name) for outer, inner, name in pod.gateway_ports]
    else:
        ports = [(p.service_port or p.number, p.number, p.name) for p in pod.ports]
    selector = f"    istio: {pod.labels.get('istio', 'ingressgateway')}\n" if pod.kind == GATEWAY else ""
    text = f"""apiVersion: v1
kind: Service
metadata:
  name: {pod.workload}
  namespace: {pod.namespace}
  creationTimestamp: "{CREATED}"
  labels:
    app: {pod.workload}
spec:
  type: {"LoadBalancer" if pod.kind == GATEWAY else "ClusterIP"}
  clusterIP: {'None' if pod.headless else virtual_address(number)}
  selector:
    app: {pod.workload}
{selector}  ports:
"""
    text += "".join(f"  - name: {name}\n    port: {outer}\n    targetPort: {inner}\n    protocol: TCP\n" for outer, inner, name in ports)
    text += f"""---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {pod.workload}-{pod_name(pod)[-5:]}
  namespace: {pod.namespace}
  creationTimestamp: "{CREATED}"
  labels:
    kubernetes.io/service-name: {pod.workload}
addressType: IPv4
endpoints:
"""
    for each in pods:
        text += f"""- addresses:
  - {each.address}
  conditions:
    ready: true
  nodeName: node-1
  targetRef:
    kind: Pod
    name: {pod_name(each)}
    namespace: {each.namespace}
"""
    return text + "ports:\n" + "".join(f"- name: {name}\n  port: {inner}\n  protocol: TCP\n" for _, inner, name in ports)


def documents(case: Case) -> list[str]:
    result = [namespace("istio-system", {})] if "istio-system" not in case.injected + case.uninjected else []
    result += [namespace(name, {"istio-injection": "enabled"}) for name in case.injected]
    result += [namespace(name, {"istio.io/dataplane-mode": "ambient"}) for name in case.ambient]
    result += [namespace(name, {}) for name in case.uninjected]
    result.append(mesh_config({"rootNamespace": "istio-system", "trustDomain": "cluster.local", "enableAutoMtls": "true", **case.mesh_config}))
    inside = [pod for pod in case.pods if pod.kind not in (OUTSIDE, REMOTE, EXTERNAL)]
    result += [pod_yaml(pod) for pod in inside]
    result += [service(case.workload(name), number) for number, name in enumerate(services(case), 1)]
    return result
