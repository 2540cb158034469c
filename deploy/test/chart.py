#!/usr/bin/env python3
"""Renders the chart with Helm's own engine and holds the result to the Kubernetes schemas, to what the programs take,
and to the promises of docs/operations.md. Usage: chart.py WIREPROOF AGENT (the two programs); see run.sh."""

import copy
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import helm_python as helm
import kubernetes_validate
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
CHART = os.path.join(HERE, "..", "chart")
# The oldest version that Chart.yaml names, one between, the newest that there are schemas of.
VERSIONS = ["1.27", "1.32", "1.37"]
READ = {"get", "list", "watch"}
PROGRAMS = {}

SECRET = {"auth": {"existingSecret": "tokens"}, "collector": {"tls": {"existingSecret": "certificate"}}}
EVERYTHING = {
    "fullnameOverride": "proof",
    "auth": {"existingSecret": "tokens", "apiTokenKey": "a", "agentTokenKey": "b"},
    "image": {
        "pullSecrets": [{"name": "registry"}],
        "agent": {"repository": "registry.example/agent", "digest": "sha256:" + "0" * 64},
    },
    "agent": {
        "interfaces": ["eth0", "cali*"],
        "filter": "tcp and not port 22",
        "collectorURL": "https://wireproof.example:8480",
        "collectorCASecret": "ca",
        "clientCertificateSecret": "certificate",
        "spool": {"size": "1G", "hostPath": ""},
        "metricsHostPath": "/var/lib/node_exporter",
        "extraArgs": ["--follow"],
        "priorityClassName": "system-node-critical",
        "affinity": {"nodeAffinity": {}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
    },
    "collector": {
        "store": {
            "clickhouse": {"url": "clickhouses://proof@ch.data.svc:8443/proof", "existingSecret": "ch", "passwordKey": "p", "keepEdges": "400d"}
        },
        "service": {"type": "NodePort", "annotations": {"a": "b"}},
        "tolerations": [{"key": "audit", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
    },
    "istio": {"namespace": "mesh", "revisions": ["canary"]},
    "networkPolicy": {
        "enabled": True,
        "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
    },
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "grafanaDashboards": {"enabled": True, "annotations": {"grafana_folder": "audit"}},
}
NO_VOLUME = {
    **SECRET,
    "agent": {"enabled": False},
    "rbac": {"create": False},
    "networkPolicy": {"enabled": True},
    "collector": {"store": {"persistence": {"enabled": False}}},
    "podMonitor": {"enabled": True},
}
CLAIM = {**SECRET, "collector": {**SECRET["collector"], "store": {"persistence": {"existingClaim": "mine"}}}}
CERTIFIED = {
    "auth": {"existingSecret": "tokens", "agentTokenKey": ""},
    "agent": {"clientCertificateSecret": "nodes"},
    "collector": {"tls": {"existingSecret": "certificate", "clientCASecret": "nodes-ca"}},
}
PER_NODE = {
    "driver": "csi.cert-manager.io",
    "readOnly": True,
    "volumeAttributes": {
        "csi.cert-manager.io/issuer-name": "nodes",
        "csi.cert-manager.io/dns-names": "*",
        "csi.cert-manager.io/key-usages": "client auth,digital signature",
    },
}
OWN_KEYS = {**CERTIFIED, "agent": {"clientCertificateVolume": {"csi": PER_NODE}}}
# Names that YAML would read as something else, and what a cluster of another kind sets.
ODD = {
    "commonLabels": {"team": "audit"},
    "auth": {"existingSecret": "1234", "apiTokenKey": "1", "agentTokenKey": "true"},
    "agent": {
        "serviceAccountName": "42",
        "seLinuxOptions": {"type": "spc_t"},
        "priorityClassName": "10",
        "collectorCASecret": "0x1f",
        "clientCertificateSecret": "1e3",
        "spool": {"hostPath": "/var/lib/wireproof #2"},
    },
    "collector": {
        "listenAddress": "[::]",
        "keep": "",
        "priorityClassName": "11",
        "tls": {"existingSecret": "12", "clientCASecret": "13"},
        "store": {"persistence": {"storageClassName": "14", "size": "20"}},
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
        "podLabels": {"sidecar.istio.io/inject": "true"},
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"},
        "hosts": ["wireproof.example", "*.audit.example"],
        "tls": [{"hosts": ["wireproof.example"], "secretName": "page"}],
    },
    "podMonitor": {"enabled": True},
}
ALL = {"odd": ODD, "default": SECRET, "everything": EVERYTHING, "no volume": NO_VOLUME, "claim": CLAIM, "certified": CERTIFIED, "own keys": OWN_KEYS}


def render(values, name="audit", namespace="watch"):
    """Returns the objects, after the values were held to values.schema.json as `helm install` does."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values))
        texts = chart.render(values, name=name, namespace=namespace)
    objects = []
    for file, text in texts.items():
        if file.endswith(".yaml"):
            objects += [document for document in yaml.safe_load_all(text) if document]
    return objects


def one(objects, kind, end=""):
    found = [it for it in objects if it["kind"] == kind and it["metadata"]["name"].endswith(end)]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def pods(objects):
    return [(it, it["spec"]["template"]["spec"]) for it in objects if it["kind"] in ("DaemonSet", "Deployment")]


class Chart(unittest.TestCase):
    def setUp(self):
        self.rendered = {name: render(values) for name, values in ALL.items()}

    def test_helm_finds_nothing_to_mend(self):
        found = helm.lint(CHART, values=SECRET)
        bad = [it for it in found.get("messages", []) if "icon is recommended" not in str(it)]
        self.assertEqual(bad, [], found)

    def test_the_schemas_of_kubernetes_hold(self):
        held = 0
        for name, objects in self.rendered.items():
            for it in objects:
                if it["apiVersion"].startswith("monitoring.coreos.com/"):
                    continue
                for version in VERSIONS:
                    with self.subTest(values=name, kind=it["kind"], version=version):
                        kubernetes_validate.validate(it, version, strict=True)
                        held += 1
        self.assertGreater(held, 60)

    def test_the_schemas_would_notice_a_mistake(self):
        wrong = copy.deepcopy(one(self.rendered["default"], "DaemonSet"))
        wrong["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)

    def test_wrong_values_are_refused(self):
        for wrong in [
            {"agnet": {}},
            {"agent": {"bufferSize": "64"}},
            {"agent": {"interfaces": []}},
            {"agent": {"spool": {"size": "256 MB"}}},
            {"agent": {"collectorURL": "http://wireproof:8480"}},
            {"collector": {"keep": "30"}},
            {"collector": {"listenAddress": "::"}},
            {"collector": {"store": {"clickhouse": {"keepEdges": "400"}}}},
            {"collector": {"podSecurityContext": {"runAsNonRoot": False}}},
            {"collector": {"store": {"persistence": {"size": "20 GB"}}}},
            {"collector": {"store": {"clickhouse": {"url": "clickhouse://user@host:8123/db #1"}}}},
            # It would tear the objects from what selects them.
            {"agent": {"podLabels": {"app.kubernetes.io/name": "agent"}}},
            {"commonLabels": {"app.kubernetes.io/instance": "other"}},
            {"ingress": {"enabled": True, "hosts": ["https://wireproof.example/"]}},
            {"fullnameOverride": "Wire_Proof"},
            {"collector": {"port": 80}},
            # A password in the address would stand in the pod's arguments for everybody to read.
            {"collector": {"store": {"clickhouse": {"url": "clickhouse://user:password@host:8123/db"}}}},
            {"istio": {"revisions": ["no/name"]}},
            {"image": {"agent": {"repository": "a", "digest": "latest"}}},
        ]:
            with self.subTest(wrong=wrong), self.assertRaises(helm.HelmError):
                render({**SECRET, **wrong})
        with self.assertRaisesRegex(helm.HelmError, "auth.existingSecret is required"):
            render({"collector": SECRET["collector"]})
        with self.assertRaisesRegex(helm.HelmError, "collector.tls.existingSecret is required"):
            render({"auth": SECRET["auth"]})
        with self.assertRaisesRegex(helm.HelmError, "ingress.hosts is required"):
            render({**SECRET, "ingress": {"enabled": True}})

    def test_every_flag_is_one_of_the_program(self):
        for name, objects in self.rendered.items():
            for owner, pod in pods(objects):
                arguments = pod["containers"][0]["args"]
                agent = owner["kind"] == "DaemonSet"
                known = flags(PROGRAMS["agent"], ["--help"]) if agent else flags(PROGRAMS["wireproof"], ["serve", "--help"])
                if not agent:
                    self.assertEqual(arguments[0], "serve")
                    arguments = arguments[1:]
                for argument in arguments:
                    with self.subTest(values=name, argument=argument):
                        self.assertRegex(argument, "^--[a-z-]+")
                        self.assertIn(argument.split("=")[0], known)

    def test_the_programs_take_the_arguments_together(self):
        """They are parsed by the programs themselves: one more argument, that none knows, is all that is complained of."""
        for name, objects in self.rendered.items():
            for owner, pod in pods(objects):
                program = PROGRAMS["agent" if owner["kind"] == "DaemonSet" else "wireproof"]
                arguments = [it.replace("$(NODE_NAME)", "node") for it in pod["containers"][0]["args"]]
                done = subprocess.run(
                    [program, *arguments, "--no-such-argument"], capture_output=True, text=True, timeout=60
                )
                with self.subTest(values=name, kind=owner["kind"]):
                    self.assertEqual(done.returncode, 2, done.stderr)
                    self.assertIn("unexpected argument '--no-such-argument'", done.stderr)

    def test_every_file_that_is_named_is_mounted(self):
        for name, objects in self.rendered.items():
            for owner, pod in pods(objects):
                container = pod["containers"][0]
                mounts = {it["mountPath"]: it for it in container["volumeMounts"]}
                volumes = {it["name"] for it in pod["volumes"]}
                self.assertEqual({it["name"] for it in mounts.values()}, volumes, (name, owner["kind"]))
                for argument in container["args"]:
                    path = argument.partition("=")[2]
                    if path.startswith("/"):
                        with self.subTest(values=name, path=path):
                            self.assertTrue(any(path.startswith(mount + "/") for mount in mounts))

    def test_pods_hold_no_more_than_they_need(self):
        for name, objects in self.rendered.items():
            for owner, pod in pods(objects):
                with self.subTest(values=name, kind=owner["kind"]):
                    agent = owner["kind"] == "DaemonSet"
                    self.assertEqual(len(pod["containers"]), 1)
                    container = pod["containers"][0]
                    security = container["securityContext"]
                    self.assertIs(security["allowPrivilegeEscalation"], False)
                    self.assertIs(security["privileged"], False)
                    self.assertIs(security["readOnlyRootFilesystem"], True)
                    self.assertEqual(security["capabilities"]["drop"], ["ALL"])
                    self.assertEqual(security["capabilities"].get("add", []), ["NET_RAW"] if agent else [])
                    self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    self.assertEqual(pod.get("hostNetwork", False), agent)
                    self.assertNotIn("hostPID", pod)
                    self.assertNotIn("hostIPC", pod)
                    self.assertEqual(pod["automountServiceAccountToken"], not agent)
                    self.assertEqual("serviceAccountName" in pod, not agent or name == "odd")
                    if not agent:
                        self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                            self.assertIn(container[probe]["httpGet"]["path"], ("/livez", "/readyz"))
                    self.assertIn("memory", container["resources"]["limits"])
                    self.assertEqual(set(container["resources"]["requests"]), {"cpu", "memory"})
                    secrets = [it for it in pod["volumes"] if "secret" in it]
                    self.assertTrue(secrets)
                    for volume in secrets:
                        self.assertTrue(volume["secret"]["items"], "a whole Secret is mounted")
                    tokens = [it["secret"]["items"] for it in secrets if it["name"].startswith("token")]
                    paths = {it["path"] for items in tokens for it in items}
                    known = set() if name in ("certified", "own keys") else {"agent-token"}
                    self.assertEqual(paths, known if agent else {"api-token", *known})

    def test_what_may_be_read_is_named_and_nothing_may_be_written(self):
        objects = self.rendered["everything"]
        for it in objects:
            if it["kind"] in ("Role", "ClusterRole"):
                for rule in it["rules"]:
                    self.assertEqual(set(rule["verbs"]), READ)
                    for word in [*rule["apiGroups"], *rule["resources"]]:
                        self.assertNotIn("*", word)
                    self.assertNotIn("secrets", rule["resources"])
                    if "configmaps" in rule["resources"]:
                        self.assertEqual(rule["resourceNames"], ["istio", "istio-canary"])
                        self.assertEqual((it["kind"], it["metadata"]["namespace"]), ("Role", "mesh"))
        for binding, role in (("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")):
            it = one(objects, binding)
            self.assertEqual(it["roleRef"]["name"], one(objects, role)["metadata"]["name"])
            account = one(objects, "ServiceAccount")["metadata"]
            subject = {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
            self.assertEqual(it["subjects"], [subject])
        kinds = {it["kind"] for it in self.rendered["no volume"]}
        self.assertFalse(kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "DaemonSet"})

    def test_the_chart_reads_what_the_plain_manifest_reads(self):
        def read(documents):
            return {
                (group, resource)
                for it in documents
                if it["kind"] in ("ClusterRole", "Role")
                for rule in it["rules"]
                for group in rule["apiGroups"]
                for resource in rule["resources"]
            }

        with open(os.path.join(HERE, "..", "rbac.yaml"), encoding="utf-8") as file:
            plain = [it for it in yaml.safe_load_all(file) if it]
        self.assertEqual(read(self.rendered["default"]), read(plain))

    def test_objects_find_each_other(self):
        for name, objects in self.rendered.items():
            with self.subTest(values=name):
                collector = one(objects, "Deployment")
                labels = collector["spec"]["template"]["metadata"]["labels"]
                port = collector["spec"]["template"]["spec"]["containers"][0]["ports"][0]
                service = one(objects, "Service")
                self.assertLessEqual(service["spec"]["selector"].items(), labels.items())
                self.assertEqual(service["spec"]["ports"][0]["targetPort"], port["name"])
                for it in objects:
                    if it["kind"] in ("PodMonitor", "NetworkPolicy"):
                        selector = it["spec"].get("selector") or it["spec"]["podSelector"]
                        self.assertLessEqual(selector["matchLabels"].items(), labels.items())
                    if it["kind"] not in ("ClusterRole", "ClusterRoleBinding"):
                        expected = "mesh" if name == "everything" else "istio-system"
                        expected = expected if it["kind"] in ("Role", "RoleBinding") else "watch"
                        self.assertEqual(it["metadata"]["namespace"], expected)
        agent = one(self.rendered["default"], "DaemonSet")["spec"]["template"]
        self.assertIn("--collector=https://audit-wireproof.watch.svc:8480", agent["spec"]["containers"][0]["args"])
        self.assertIn("--max-connections=1048576", agent["spec"]["containers"][0]["args"])
        self.assertFalse(service_selects(self.rendered["default"], agent["metadata"]["labels"]))
        claim = one(self.rendered["claim"], "Deployment")["spec"]["template"]["spec"]["volumes"]
        self.assertIn({"name": "store", "persistentVolumeClaim": {"claimName": "mine"}}, claim)
        self.assertFalse(any(it["kind"] == "PersistentVolumeClaim" for it in self.rendered["claim"]))
        image = one(self.rendered["everything"], "DaemonSet")["spec"]["template"]["spec"]["containers"][0]["image"]
        self.assertEqual(image, "registry.example/agent@sha256:" + "0" * 64)

    def test_connections_are_tls_wherever_a_token_goes(self):
        objects = render({**SECRET, "podMonitor": {"enabled": True}})
        container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        self.assertIn("--tls-key=/run/wireproof/tls/tls.key", container["args"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            self.assertEqual(container[probe]["httpGet"]["scheme"], "HTTPS")
        endpoint = one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]
        self.assertEqual((endpoint["scheme"], endpoint["tlsConfig"]["serverName"]), ("https", "audit-wireproof.watch.svc"))
        pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
        authority = next(it["secret"] for it in pod["volumes"] if it["name"] == "ca")
        self.assertEqual(authority["secretName"], "certificate")
        self.assertEqual([it["key"] for it in authority["items"]], ["ca.crt"], "the key would go to every node")

    def test_agents_without_a_token_have_a_certificate_that_the_collector_believes(self):
        objects = self.rendered["certified"]
        agent = one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertIn("--client-cert=/run/wireproof/certificate/tls.crt", agent)
        pod = one(objects, "Deployment")["spec"]["template"]["spec"]
        self.assertIn("--tls-client-ca=/run/wireproof/client-ca/ca.crt", pod["containers"][0]["args"])
        authority = next(it["secret"] for it in pod["volumes"] if it["name"] == "client-ca")
        self.assertEqual(authority, {"secretName": "nodes-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]})
        for part, missing, expected in (
            ("agent", {"clientCertificateSecret": ""}, "agent.clientCertificateSecret"),
            ("collector", {"tls": {"existingSecret": "certificate"}}, "collector.tls.clientCASecret"),
        ):
            with self.assertRaisesRegex(helm.HelmError, expected):
                render({**CERTIFIED, part: missing})

    def test_each_node_may_have_a_key_of_its_own(self):
        agent = one(self.rendered["own keys"], "DaemonSet")["spec"]["template"]["spec"]
        args = agent["containers"][0]["args"]
        self.assertIn("--client-cert=/run/wireproof/certificate/tls.crt", args)
        self.assertIn("--client-key=/run/wireproof/certificate/tls.key", args)
        mounts = {it["name"]: it for it in agent["containers"][0]["volumeMounts"]}
        self.assertEqual(mounts["certificate"]["mountPath"], "/run/wireproof/certificate")
        self.assertTrue(mounts["certificate"]["readOnly"])
        self.assertEqual([it for it in agent["volumes"] if it["name"] == "certificate"], [{"name": "certificate", "csi": PER_NODE}])
        folder = {"hostPath": {"path": "/etc/wireproof", "type": "Directory"}}
        objects = render({**CERTIFIED, "agent": {"clientCertificateVolume": folder}})
        self.assertIn({"name": "certificate", **folder}, one(objects, "DaemonSet")["spec"]["template"]["spec"]["volumes"])
        both = {"clientCertificateSecret": "nodes", "clientCertificateVolume": folder}
        with self.assertRaisesRegex(helm.HelmError, "one certificate"):
            render({**CERTIFIED, "agent": both})

    def test_edges_are_kept_longer_in_clickhouse_only(self):
        def kept(values):
            container = one(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
            return [it for it in container["args"] if it.startswith("--keep")]

        longer = {"store": {"clickhouse": {"url": "clickhouse://u@h:8123/d", "keepEdges": "400d"}}}
        self.assertEqual(kept({**SECRET, "collector": {**SECRET["collector"], **longer}}), ["--keep=30d", "--keep-edges=400d"])
        in_a_file = {"store": {"clickhouse": {"keepEdges": "400d"}}}
        self.assertEqual(kept({**SECRET, "collector": {**SECRET["collector"], **in_a_file}}), ["--keep=30d"])
        # Where all flows are kept, edges are as well.
        self.assertEqual(kept({**SECRET, "collector": {**SECRET["collector"], **longer, "keep": ""}}), [])

    def test_names_stay_as_they_were_given(self):
        objects = self.rendered["odd"]
        agent, collector = (one(objects, kind)["spec"]["template"]["spec"] for kind in ("DaemonSet", "Deployment"))
        secrets = [it["secret"] for pod in (agent, collector) for it in pod["volumes"] if "secret" in it]
        self.assertEqual({it["secretName"] for it in secrets}, {"1234", "0x1f", "1e3", "12", "13"})
        self.assertEqual({it["key"] for it in secrets[0]["items"]}, {"true"})
        self.assertEqual((agent["serviceAccountName"], agent["priorityClassName"]), ("42", "10"))
        self.assertEqual(next(it["hostPath"]["path"] for it in agent["volumes"] if "hostPath" in it), "/var/lib/wireproof #2")
        claim = one(objects, "PersistentVolumeClaim")["spec"]
        self.assertEqual((claim["storageClassName"], claim["resources"]["requests"]["storage"]), ("14", "20"))

    def test_what_a_cluster_of_another_kind_needs_can_be_set(self):
        objects = self.rendered["odd"]
        collector = one(objects, "Deployment")["spec"]["template"]
        args = collector["spec"]["containers"][0]["args"]
        self.assertIn("--listen=[::]:8480", args)
        self.assertFalse([it for it in args if it.startswith("--keep")])
        kept = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, "fsGroupChangePolicy": "OnRootMismatch"}
        self.assertEqual(collector["spec"]["securityContext"], kept)
        self.assertEqual(collector["metadata"]["labels"]["sidecar.istio.io/inject"], "true")
        pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
        self.assertEqual(pod["securityContext"]["seLinuxOptions"], {"type": "spc_t"})
        for it in objects:
            self.assertEqual(it["metadata"]["labels"]["team"], "audit", it["kind"])
        selector = one(objects, "DaemonSet")["spec"]["selector"]["matchLabels"]
        self.assertNotIn("team", selector, "what selects can never be changed")
        ingress = one(objects, "Ingress")["spec"]
        service = one(objects, "Service")
        self.assertEqual([it["host"] for it in ingress["rules"]], ["wireproof.example", "*.audit.example"])
        for rule in ingress["rules"]:
            backend = rule["http"]["paths"][0]["backend"]["service"]
            port = {"name": service["spec"]["ports"][0]["name"]}
            self.assertEqual(backend, {"name": service["metadata"]["name"], "port": port})

    def test_the_collector_stays_out_of_the_mesh_and_may_take_long_to_start(self):
        pod = one(self.rendered["default"], "Deployment")["spec"]["template"]
        labels = pod["metadata"]["labels"]
        self.assertEqual((labels["sidecar.istio.io/inject"], labels["istio.io/dataplane-mode"]), ("false", "none"))
        probe = pod["spec"]["containers"][0]["startupProbe"]
        self.assertGreaterEqual(probe["periodSeconds"] * probe["failureThreshold"], 3600)

    def test_the_wrapped_alerts_are_the_plain_ones(self):
        with open(os.path.join(CHART, "rules", "alerts.yaml"), encoding="utf-8") as file:
            plain = yaml.safe_load(file)
        wrapped = one(self.rendered["everything"], "PrometheusRule")["spec"]
        self.assertEqual(wrapped, plain)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(wrapped, file)
            file.flush()
            subprocess.run(["promtool", "check", "rules", file.name], check=True, capture_output=True)

    def test_the_dashboards_are_there_for_grafana_and_can_be_asked(self):
        objects = self.rendered["everything"]
        board = one(objects, "ConfigMap", "-dashboards")
        self.assertEqual(board["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertEqual(board["metadata"]["annotations"], {"grafana_folder": "audit"})
        self.assertFalse(any(it["kind"] == "ConfigMap" for it in self.rendered["default"]))
        plain = {f"wireproof-{os.path.basename(path)}": path for path in glob.glob(os.path.join(CHART, "dashboards", "*.json"))}
        self.assertEqual(set(board["data"]), set(plain))
        self.assertGreater(len(plain), 1)
        asked, names = [], set()
        for name, text in board["data"].items():
            found = json.loads(text)
            with open(plain[name], encoding="utf-8") as file:
                self.assertEqual(found, json.load(file))
            names.add((found["uid"], found["title"]))
            panels = [it for it in found["panels"] if it["type"] != "row"]
            self.assertEqual(len({it["id"] for it in found["panels"]}), len(found["panels"]), "two panels have one id")
            spots = {(it["gridPos"]["x"] + x, it["gridPos"]["y"] + y) for it in found["panels"]
                     for x in range(it["gridPos"]["w"]) for y in range(it["gridPos"]["h"])}
            area = sum(it["gridPos"]["w"] * it["gridPos"]["h"] for it in found["panels"])
            self.assertEqual((len(spots), max(x for x, _ in spots) < 24), (area, True), "panels lie over each other")
            for panel in panels:
                self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"}, panel["title"])
                self.assertTrue(panel["description"] and panel["targets"], panel["title"])
                asked += [it["expr"] for it in panel["targets"]]
        self.assertEqual(len(names), len(plain), "two dashboards have one uid or title")
        # promtool reads every expression; Grafana's own variables stand for a time and for a name.
        rules = [{"record": f"asked:{place}", "expr": concrete(it)} for place, it in enumerate(asked)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
            file.flush()
            subprocess.run(["promtool", "check", "rules", file.name], check=True, capture_output=True)

    def test_the_documents_name_every_alert(self):
        with open(os.path.join(CHART, "rules", "alerts.yaml"), encoding="utf-8") as file:
            alerts = [rule["alert"] for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]
        with open(os.path.join(HERE, "..", "..", "docs", "operations.md"), encoding="utf-8") as file:
            page = file.read()
        self.assertGreater(len(alerts), 7)
        self.assertEqual([it for it in alerts if f"`{it}`" not in page], [])


def concrete(expression):
    return expression.replace("$__rate_interval", "5m").replace("$agent", ".*")


def service_selects(objects, labels):
    return one(objects, "Service")["spec"]["selector"].items() <= labels.items()


def flags(program, arguments):
    text = subprocess.run([program, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


if __name__ == "__main__":
    PROGRAMS["wireproof"], PROGRAMS["agent"] = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)
