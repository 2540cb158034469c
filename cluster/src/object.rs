//! One object, cut down to what decides answers.
//!
//! What an API server adds goes (managed fields, versions, all of a status but addresses), and so does what a pod's template may
//! keep secret: of its environment only the settings of the proxy and of istiod that are read, of its arguments only the
//! proxy's role.

use analyzer::mesh::Declared;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::kinds::Kind;

/// What `kubectl apply` notes down: the whole object again.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as it is kept.
#[derive(Debug)]
pub struct Object {
    /// What names it as a file would: `peerauthentications.security.istio.io/shop/default`, as `kubectl` takes it.
    pub file: String,
    /// Its JSON, with `apiVersion` and `kind`.
    pub json: Value,
    /// Length of that JSON as text, in bytes.
    pub(crate) bytes: usize,
    /// Whether its kind says what was declared, rather than what happens to run.
    pub(crate) declares: bool,
    /// The same, as the analyzer read it.
    pub(crate) declared: Declared,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        // All else follows from these.
        (&self.file, &self.json) == (&other.file, &other.json)
    }
}

impl Object {
    /// Cuts an object down.
    pub(crate) fn of(kind: &Kind, api_version: &str, object: DynamicObject) -> Self {
        let file = file(kind, &object);
        let mut json = Map::new();
        json.insert("apiVersion".to_owned(), api_version.into());
        json.insert("kind".to_owned(), kind.kind.into());
        json.insert("metadata".to_owned(), metadata(kind, object.metadata));
        json.extend(content(kind, object.data));
        let json = Value::Object(json);
        let bytes = json.to_string().len();
        let declared = Declared::read(&file, &json);
        Self { file, json, bytes, declares: kind.declares, declared }
    }
}

/// Names an object.
pub(crate) fn file(kind: &Kind, object: &DynamicObject) -> String {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match object.metadata.namespace.as_deref() {
        Some(namespace) => format!("{}/{namespace}/{name}", kind.resource()),
        None => format!("{}/{name}", kind.resource()),
    }
}

fn metadata(kind: &Kind, metadata: kube::api::ObjectMeta) -> Value {
    // Much is noted on what runs, and some of it changes all the time; Istio's own notes are what decides there.
    let kept = |key: &str| {
        key != LAST_APPLIED
            && (kind.declares || key.split('/').next().is_some_and(|domain| domain.ends_with("istio.io")))
    };
    let annotations: Map<String, Value> = metadata
        .annotations
        .unwrap_or_default()
        .into_iter()
        .filter(|(key, _)| kept(key))
        .map(|(key, value)| (key, value.into()))
        .collect();
    let owners: Vec<Value> = metadata
        .owner_references
        .unwrap_or_default()
        .into_iter()
        .filter(|_| kind.kind == "Pod")
        .map(|owner| {
            let controller = owner.controller;
            json!({"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "controller": controller})
        })
        .collect();
    let mut kept = Map::new();
    kept.insert("name".to_owned(), metadata.name.into());
    if let Some(namespace) = metadata.namespace {
        kept.insert("namespace".to_owned(), namespace.into());
    }
    if let Some(labels) = metadata.labels {
        kept.insert(
            "labels".to_owned(),
            labels.into_iter().map(|(key, value)| (key, value.into())).collect::<Map<_, _>>().into(),
        );
    }
    if !annotations.is_empty() {
        kept.insert("annotations".to_owned(), annotations.into());
    }
    if let Some(created) = metadata.creation_timestamp {
        kept.insert("creationTimestamp".to_owned(), json!(created));
    }
    if !owners.is_empty() {
        kept.insert("ownerReferences".to_owned(), owners.into());
    }
    Value::Object(kept)
}

fn content(kind: &Kind, data: Value) -> Map<String, Value> {
    match kind.kind {
        "Namespace" => Map::new(),
        "Node" => [("status".to_owned(), some(&data["status"], &["addresses"]))].into_iter().collect(),
        "Pod" => pod(&data),
        "ConfigMap" => {
            [("data".to_owned(), some(&data["data"], &["mesh", "meshNetworks"]))].into_iter().collect()
        }
        // Where it is published, and what Istio assigned.
        "Service" => with_status(&data, "loadBalancer"),
        "ServiceEntry" => with_status(&data, "addresses"),
        // Without an address a Gateway is no waypoint yet.
        "Gateway" if kind.group == "gateway.networking.k8s.io" => {
            let mut kept = fields(&data, &["spec"]);
            let addresses = data["status"]["addresses"].as_array().cloned().unwrap_or_default();
            kept.insert("status".to_owned(), json!({ "addresses": addresses }));
            kept
        }
        "EndpointSlice" => fields(&data, &["addressType", "endpoints", "ports"]),
        _ => fields(&data, &["spec"]),
    }
}

fn with_status(data: &Value, field: &str) -> Map<String, Value> {
    let mut kept = fields(data, &["spec"]);
    let status = fields(&data["status"], &[field]);
    if !status.is_empty() {
        kept.insert("status".to_owned(), status.into());
    }
    kept
}

fn pod(data: &Value) -> Map<String, Value> {
    let mut spec = fields(&data["spec"], &["hostNetwork", "nodeName", "serviceAccountName"]);
    for list in ["containers", "initContainers"] {
        if let Some(containers) = data["spec"][list].as_array() {
            spec.insert(list.to_owned(), containers.iter().map(container).collect());
        }
    }
    let status = some(&data["status"], &["phase", "podIP", "podIPs", "hostIP", "hostIPs"]);
    [("spec".to_owned(), Value::Object(spec)), ("status".to_owned(), status)].into_iter().collect()
}

fn container(container: &Value) -> Value {
    let mut kept = fields(container, &["name", "image", "ports", "restartPolicy"]);
    let proxy = container["name"] == "istio-proxy";
    let is_read = |name: &str| match container["name"].as_str() {
        Some("istio-proxy") => {
            matches!(
                name,
                "ISTIO_META_INTERCEPTION_MODE"
                    | "ISTIO_META_NETWORK"
                    | "ISTIO_META_TLS_CLIENT_CERT_CHAIN"
                    | "ISTIO_META_UNPRIVILEGED_POD"
            )
        }
        Some("discovery") => {
            matches!(name, "CLUSTER_ID" | "REVISION")
                || name.starts_with("PILOT_")
                || name.starts_with("ENABLE_")
        }
        Some(_) | None => false,
    };
    let environment: Vec<Value> = entries(&container["env"])
        .filter(|entry| entry["name"].as_str().is_some_and(is_read) && entry["value"].is_string())
        .cloned()
        .collect();
    if !environment.is_empty() {
        kept.insert("env".to_owned(), environment.into());
    }
    let role: Vec<Value> = entries(&container["args"])
        .filter(|argument| proxy && ["waypoint", "router", "ztunnel"].iter().any(|role| *argument == role))
        .cloned()
        .collect();
    if !role.is_empty() {
        kept.insert("args".to_owned(), role.into());
    }
    Value::Object(kept)
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn fields(value: &Value, names: &[&str]) -> Map<String, Value> {
    let held = |name: &&str| value.get(*name).map(|field| ((*name).to_owned(), field.clone()));
    names.iter().filter_map(held).collect()
}

fn some(value: &Value, names: &[&str]) -> Value {
    Value::Object(fields(value, names))
}

#[cfg(test)]
mod tests {
    use analyzer::expectation::expect;
    use analyzer::lint::lint;
    use analyzer::mesh::Mesh;

    use super::*;
    use crate::kinds::{CONFIG_MAP, KINDS};

    fn read(kind: &str, json: Value) -> Object {
        let kind = KINDS.iter().find(|known| known.kind == kind).unwrap();
        Object::of(kind, "v1", serde_json::from_value(json).unwrap())
    }

    /// What an API server holds counts, also where Istio's webhook would refuse it today: it must be told from what is only written.
    #[test]
    fn what_a_cluster_has_all_the_same_counts() {
        let policy = |created: Value| {
            let metadata = json!({"name": "default", "namespace": "shop", "creationTimestamp": created});
            let spec = json!({"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "STRICT"}}});
            let kind = KINDS.iter().find(|known| known.kind == "PeerAuthentication").unwrap();
            let object = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
            Object::of(kind, "security.istio.io/v1", object)
        };
        for (created, counts) in [(json!("2026-01-01T00:00:00Z"), 1), (Value::Null, 0)] {
            let object = policy(created);
            let (mesh, _) = Mesh::of_declared([&object.declared]);
            assert_eq!(mesh.peer_authentications.len(), counts);
        }
    }

    /// Cutting down must change no answer: the meshes of all cases, whole and cut down, say the same of every pair.
    #[test]
    fn what_is_cut_off_changes_no_answer() {
        let mut cases = 0;
        for entry in std::fs::read_dir("../testdata").unwrap() {
            let Ok(text) = std::fs::read_to_string(entry.unwrap().path().join("mesh.yaml")) else { continue };
            let whole: Vec<(String, Value)> = text
                .split("\n---")
                .filter_map(|document| serde_saphyr::from_str::<Value>(document).ok())
                .filter(Value::is_object)
                .filter_map(|object| {
                    let dynamic: DynamicObject = serde_json::from_value(object.clone()).ok()?;
                    Some((file(known(&object)?, &dynamic), object))
                })
                .collect();
            let cut: Vec<Object> = whole
                .iter()
                .map(|(_, object)| {
                    let version = object["apiVersion"].as_str().unwrap();
                    let dynamic = serde_json::from_value(object.clone()).unwrap();
                    Object::of(known(object).unwrap(), version, dynamic)
                })
                .collect();
            let whole: Vec<Declared> =
                whole.iter().map(|(file, object)| Declared::read(file, object)).collect();
            let (whole, _) = Mesh::of_declared(&whole);
            let (cut, _) = Mesh::of_declared(cut.iter().map(|object| &object.declared));
            assert_eq!(whole.control_plane, cut.control_plane);
            let ids =
                |mesh: &Mesh| lint(mesh).into_iter().map(|found| (found.id, found.file)).collect::<Vec<_>>();
            assert_eq!(ids(&whole), ids(&cut));
            let addresses: Vec<_> = whole.pods.iter().flat_map(|pod| pod.ips.clone()).take(30).collect();
            for from in &addresses {
                for to in &addresses {
                    for port in [80, 443, 8080, 9080, 9090, 15008, 15443] {
                        let to = flow::Endpoint { ip: *to, port };
                        let [whole, cut] =
                            [&whole, &cut].map(|mesh| format!("{:?}", expect(mesh, *from, to, None)));
                        assert_eq!(whole, cut);
                    }
                }
            }
            cases += usize::from(!addresses.is_empty());
        }
        assert!(cases >= 3, "only {cases} meshes were compared");
    }

    fn known(object: &Value) -> Option<&'static Kind> {
        let group = object["apiVersion"].as_str()?.rsplit_once('/').map_or("", |(group, _)| group);
        let all = KINDS.iter().chain([&CONFIG_MAP]);
        all.into_iter().find(|kind| kind.group == group && object["kind"] == kind.kind)
    }

    #[test]
    fn a_pod_keeps_no_secret() {
        let pod = read(
            "Pod",
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "web-0", "namespace": "shop", "uid": "1", "resourceVersion": "7", "managedFields": [{}],
                    "labels": {"app": "web"},
                    "annotations": {"sidecar.istio.io/inject": "true", "vault/token": "hidden"},
                },
                "spec": {
                    "serviceAccountName": "web", "nodeName": "n",
                    "volumes": [{"name": "hidden"}],
                    "containers": [
                        {"name": "app", "image": "web:1", "args": ["--password=hidden"], "command": ["hidden"],
                         "env": [{"name": "PILOT_PASSWORD", "value": "hidden"}]},
                        {"name": "istio-proxy", "image": "proxyv2:1.30.0", "args": ["proxy", "router", "ztunnel", "hidden"],
                         "env": [{"name": "ISTIO_META_UNPRIVILEGED_POD", "value": "true"},
                                 {"name": "ISTIO_META_INTERCEPTION_MODE", "value": "NONE"},
                                 {"name": "ISTIO_META_TLS_CLIENT_CERT_CHAIN", "valueFrom": {"secretKeyRef": "hidden"}}]},
                    ],
                },
                "status": {"podIP": "10.0.0.1", "hostIP": "192.0.2.1", "phase": "Running", "conditions": [{"message": "hidden"}]},
            }),
        );
        assert_eq!(pod.file, "pods/shop/web-0");
        assert_eq!(
            pod.json,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "web-0", "namespace": "shop", "labels": {"app": "web"},
                    "annotations": {"sidecar.istio.io/inject": "true"},
                },
                "spec": {
                    "serviceAccountName": "web", "nodeName": "n",
                    "containers": [
                        {"name": "app", "image": "web:1"},
                        {"name": "istio-proxy", "image": "proxyv2:1.30.0", "args": ["router", "ztunnel"],
                         "env": [{"name": "ISTIO_META_UNPRIVILEGED_POD", "value": "true"},
                                 {"name": "ISTIO_META_INTERCEPTION_MODE", "value": "NONE"}]},
                    ],
                },
                "status": {"podIP": "10.0.0.1", "hostIP": "192.0.2.1", "phase": "Running"},
            })
        );
    }

    #[test]
    fn what_decides_stays_though_it_stands_in_a_status_or_beside_the_mesh() {
        let metadata = json!({"name": "istio", "namespace": "shop"});
        let published = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}, "conditions": [{}]});
        let service = json!({"metadata": metadata, "spec": {"type": "LoadBalancer"}, "status": published});
        let kept = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}});
        assert_eq!(read("Service", service).json["status"], kept);

        let assigned = json!({"addresses": [{"value": "240.240.0.1"}], "conditions": [{}]});
        let entry = json!({"metadata": metadata, "spec": {"hosts": ["a.example"]}, "status": assigned});
        assert_eq!(
            read("ServiceEntry", entry).json["status"],
            json!({"addresses": [{"value": "240.240.0.1"}]})
        );

        let kind = KINDS.iter().find(|known| known.kind == "Gateway" && known.group.starts_with("gateway."));
        let gateway = |status: Value| {
            let json = json!({"metadata": metadata, "spec": {}, "status": status});
            Object::of(kind.unwrap(), "v1", serde_json::from_value(json).unwrap()).json["status"].clone()
        };
        let address = json!({"addresses": [{"value": "10.96.0.9"}]});
        assert_eq!(gateway(json!({"addresses": [{"value": "10.96.0.9"}], "conditions": [{}]})), address);
        assert_eq!(gateway(json!({"conditions": [{}]})), json!({"addresses": []}));

        let data = json!({"mesh": "a: 1", "meshNetworks": "networks: {}", "values": "hidden"});
        let map = serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap();
        let map = Object::of(&CONFIG_MAP, "v1", map);
        assert_eq!(map.json["data"], json!({"mesh": "a: 1", "meshNetworks": "networks: {}"}));
    }

    #[test]
    fn a_policy_keeps_what_was_declared() {
        let policy = read(
            "PeerAuthentication",
            json!({
                "metadata": {
                    "name": "default", "namespace": "shop", "generation": 3, "creationTimestamp": "2026-11-23T18:23:17Z",
                    "annotations": {LAST_APPLIED: "{}", "team": "web"}, "managedFields": [{}],
                },
                "spec": {"mtls": {"mode": "STRICT"}}, "status": {"conditions": []},
            }),
        );
        assert_eq!(
            policy.json,
            json!({
                "apiVersion": "v1", "kind": "PeerAuthentication",
                "metadata": {
                    "name": "default", "namespace": "shop", "creationTimestamp": "2026-11-23T18:23:17Z",
                    "annotations": {"team": "web"},
                },
                "spec": {"mtls": {"mode": "STRICT"}},
            })
        );
        assert_eq!(policy.bytes, policy.json.to_string().len());
    }
}
