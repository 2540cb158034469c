//! What Istio's API knows: the versions of each group, the fields of each kind, and the values it would reject.
//!
//! Only the parts that bear on transport security are followed downwards; the rest is taken as it is. Source: istio/api, the
//! `.proto` file of each kind and the validation in its generated CRD.

use crate::mesh::node::{Node, Value};
use crate::mesh::spelling;

/// What a field may hold.
enum Shape {
    /// Anything: not looked into.
    Any,
    /// An object with these fields.
    Object(&'static [(&'static str, &'static Self)]),
    /// A list of these.
    List(&'static Self),
    /// A mapping whose keys are port numbers.
    Ports(&'static Self),
    /// One of these words.
    Word(&'static [&'static str]),
}

use Shape::{Any, List, Object, Ports, Word};

const ANY: &Shape = &Any;

const PEER_MTLS: &Shape = &Object(&[("mode", &Word(&["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]))]);

const PEER_AUTHENTICATION: &Shape = &Object(&[
    ("selector", &Object(&[("matchLabels", ANY)])),
    ("mtls", PEER_MTLS),
    ("portLevelMtls", &Ports(PEER_MTLS)),
]);

const CLIENT_TLS: &Shape = &Object(&[
    ("mode", &Word(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"])),
    ("clientCertificate", ANY),
    ("privateKey", ANY),
    ("caCertificates", ANY),
    ("caCrl", ANY),
    ("credentialName", ANY),
    ("subjectAltNames", ANY),
    ("sni", ANY),
    ("insecureSkipVerify", ANY),
]);

const LOAD_BALANCER: &Shape = &Object(&[
    (
        "simple",
        &Word(&["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]),
    ),
    ("consistentHash", ANY),
    ("localityLbSetting", ANY),
    ("warmupDurationSecs", ANY),
    ("warmup", ANY),
]);

const TRAFFIC_POLICY: &Shape = &Object(&[
    ("loadBalancer", LOAD_BALANCER),
    ("connectionPool", ANY),
    ("outlierDetection", ANY),
    ("tls", CLIENT_TLS),
    (
        "portLevelSettings",
        &List(&Object(&[
            ("port", ANY),
            ("loadBalancer", LOAD_BALANCER),
            ("connectionPool", ANY),
            ("outlierDetection", ANY),
            ("tls", CLIENT_TLS),
        ])),
    ),
    ("tunnel", ANY),
    ("proxyProtocol", ANY),
    ("retryBudget", ANY),
]);

const DESTINATION_RULE: &Shape = &Object(&[
    ("host", ANY),
    ("trafficPolicy", TRAFFIC_POLICY),
    ("subsets", &List(&Object(&[("name", ANY), ("labels", ANY), ("trafficPolicy", TRAFFIC_POLICY)]))),
    ("exportTo", ANY),
    ("workloadSelector", ANY),
]);

const PORT: &Shape = &Object(&[("number", ANY), ("protocol", ANY), ("name", ANY), ("targetPort", ANY)]);

const SERVER_TLS: &Shape = &Object(&[
    ("httpsRedirect", ANY),
    (
        "mode",
        &Word(&["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"]),
    ),
    ("serverCertificate", ANY),
    ("privateKey", ANY),
    ("caCertificates", ANY),
    ("caCrl", ANY),
    ("credentialName", ANY),
    ("credentialNames", ANY),
    ("caCertCredentialName", ANY),
    ("tlsCertificates", ANY),
    ("subjectAltNames", ANY),
    ("verifyCertificateSpki", ANY),
    ("verifyCertificateHash", ANY),
    ("minProtocolVersion", TLS_VERSION),
    ("maxProtocolVersion", TLS_VERSION),
    ("cipherSuites", ANY),
]);

const TLS_VERSION: &Shape = &Word(&["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]);

const GATEWAY: &Shape = &Object(&[
    (
        "servers",
        &List(&Object(&[
            ("port", PORT),
            ("bind", ANY),
            ("hosts", ANY),
            ("tls", SERVER_TLS),
            ("defaultEndpoint", ANY),
            ("name", ANY),
        ])),
    ),
    ("selector", ANY),
]);

const VIRTUAL_SERVICE: &Shape = &Object(&[
    ("hosts", ANY),
    ("gateways", ANY),
    ("http", ANY),
    ("tls", ANY),
    ("tcp", ANY),
    ("exportTo", ANY),
]);

const WORKLOAD_ENTRY: &Shape = &Object(&[
    ("address", ANY),
    ("ports", ANY),
    ("labels", ANY),
    ("network", ANY),
    ("locality", ANY),
    ("weight", ANY),
    ("serviceAccount", ANY),
]);

const SERVICE_ENTRY: &Shape = &Object(&[
    ("hosts", ANY),
    ("addresses", ANY),
    ("ports", &List(PORT)),
    ("location", &Word(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
    ("resolution", &Word(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"])),
    ("endpoints", &List(WORKLOAD_ENTRY)),
    ("workloadSelector", ANY),
    ("exportTo", ANY),
    ("subjectAltNames", ANY),
]);

const CAPTURE_MODE: &Shape = &Word(&["DEFAULT", "IPTABLES", "NONE"]);

const SIDECAR: &Shape = &Object(&[
    ("workloadSelector", ANY),
    (
        "ingress",
        &List(&Object(&[
            ("port", PORT),
            ("bind", ANY),
            ("captureMode", CAPTURE_MODE),
            ("defaultEndpoint", ANY),
            ("tls", SERVER_TLS),
            ("connectionPool", ANY),
        ])),
    ),
    (
        "egress",
        &List(&Object(&[("port", PORT), ("bind", ANY), ("captureMode", CAPTURE_MODE), ("hosts", ANY)])),
    ),
    ("inboundConnectionPool", ANY),
    (
        "outboundTrafficPolicy",
        &Object(&[
            ("mode", &Word(&["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"])),
            ("egressProxy", ANY),
        ]),
    ),
]);

fn shape(group: &str, kind: &str) -> Option<&'static Shape> {
    Some(match (group, kind) {
        ("security.istio.io", "PeerAuthentication") => PEER_AUTHENTICATION,
        ("networking.istio.io", "DestinationRule") => DESTINATION_RULE,
        ("networking.istio.io", "Gateway") => GATEWAY,
        ("networking.istio.io", "VirtualService") => VIRTUAL_SERVICE,
        ("networking.istio.io", "ServiceEntry") => SERVICE_ENTRY,
        ("networking.istio.io", "WorkloadEntry") => WORKLOAD_ENTRY,
        ("networking.istio.io", "Sidecar") => SIDECAR,
        _ => return None,
    })
}

/// Returns the versions of a group that are known.
pub(super) fn versions(group: &str) -> &'static [&'static str] {
    match group {
        "security.istio.io" => &["v1", "v1beta1"],
        "networking.istio.io" => &["v1", "v1beta1", "v1alpha3"],
        "gateway.networking.k8s.io" => &["v1", "v1beta1", "v1alpha3", "v1alpha2"],
        "gateway.networking.x-k8s.io" => &["v1alpha1"],
        "discovery.k8s.io" => &["v1", "v1beta1"],
        "install.istio.io" => &["v1alpha1"],
        "sailoperator.io" => &["v1", "v1alpha1"],
        _ => &["v1"],
    }
}

/// What an object holds that Istio's API does not.
#[derive(Debug, Default)]
pub(super) struct Misfits {
    /// Fields that are unknown: their line, their path, and the near field that may have been meant.
    pub(super) unknown: Vec<(u32, String, Option<&'static str>)>,
    /// Values for which the API server turns the whole object down: their line, and why.
    pub(super) rejected: Vec<(u32, String)>,
}

/// Compares an object's `spec` with what Istio's API knows of its kind; other kinds have no misfits.
pub(super) fn misfits(group: &str, kind: &str, object: &Node) -> Misfits {
    let mut misfits = Misfits::default();
    if let (Some(shape), Some(spec)) = (shape(group, kind), object.get("spec")) {
        compare(shape, spec, "spec", &mut misfits);
    }
    misfits
}

fn compare(shape: &Shape, node: &Node, path: &str, misfits: &mut Misfits) {
    let is_map = matches!(node.value, Value::Map(_));
    let is_list = matches!(node.value, Value::List(_));
    let wanted = match shape {
        // Null is as good as no field.
        _ if node.is_null() => return,
        Any => return,
        Object(_) | Ports(_) if !is_map => "an object",
        List(_) if !is_list => "a list",
        Word(_) if is_map || is_list => "a word",
        Object(_) | Ports(_) | List(_) | Word(_) => "",
    };
    if !wanted.is_empty() {
        misfits.rejected.push((node.line, format!("{path} is not {wanted}")));
        return;
    }
    match shape {
        Any => {}
        Object(fields) => {
            for (key, value) in node.entries() {
                let below = format!("{path}.{key}");
                match fields.iter().find(|(name, _)| name == key) {
                    Some((_, shape)) => compare(shape, value, &below, misfits),
                    None => {
                        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                        misfits.unknown.push((value.key_line, below, spelling::nearest(&names, key)));
                    }
                }
            }
        }
        Ports(shape) => {
            for (key, value) in node.entries() {
                if key.parse::<u16>().is_ok_and(|port| port > 0) {
                    compare(shape, value, &format!("{path}.{key}"), misfits);
                } else {
                    misfits
                        .rejected
                        .push((value.key_line, format!("{path}: '{key}' is no port from 1 to 65535")));
                }
            }
        }
        List(shape) => {
            for (index, item) in node.items().iter().enumerate() {
                compare(shape, item, &format!("{path}[{index}]"), misfits);
            }
        }
        Word(words) => {
            let text = node.scalar().unwrap_or_default();
            if !text.is_empty() && !words.contains(&text.as_str()) {
                let hint = spelling::nearest(words, &text)
                    .map_or_else(String::new, |word| format!("; did you mean '{word}'?"));
                let all = words.join(", ");
                misfits.rejected.push((node.line, format!("{path} '{text}' is none of {all}{hint}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: &str, spec: &str) -> (Vec<String>, Vec<String>) {
        let node: Node = serde_saphyr::from_str(&format!("spec: {spec}")).unwrap();
        let group = if kind == "PeerAuthentication" { "security.istio.io" } else { "networking.istio.io" };
        let misfits = misfits(group, kind, &node);
        (
            misfits.unknown.into_iter().map(|(_, path, _)| path).collect(),
            misfits.rejected.into_iter().map(|(_, why)| why).collect(),
        )
    }

    #[test]
    fn what_the_api_does_not_know_is_found_wherever_it_stands() {
        let none: [&str; 0] = [];
        let check = |kind, spec, unknown: &[&str], rejected: usize| {
            let (fields, why) = found(kind, spec);
            assert_eq!(
                (fields.as_slice(), why.len()),
                (unknown.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().as_slice(), rejected),
                "{spec}: {why:?}"
            );
        };
        check("PeerAuthentication", "{mtls: {mode: STRICT}, portLevelMtls: {'80': {mode: UNSET}}}", &none, 0);
        check("PeerAuthentication", "{mtls: {mod: STRICT}}", &["spec.mtls.mod"], 0);
        check("PeerAuthentication", "{mtls: {mode: strict}}", &none, 1);
        check("PeerAuthentication", "{mtls: STRICT}", &none, 1);
        check("PeerAuthentication", "{portLevelMtls: {0: {}, 65536: {}, x: {}, 1: {mode: ON}}}", &none, 4);
        check("PeerAuthentication", "{selector: null, mtls: {mode: null}}", &none, 0);
        check(
            "DestinationRule",
            "{host: a, trafficPolicy: {tls: {mode: ISTIO_MUTAL, snii: b}, portLevelSettings: [{tls: {mode: X}}]}, subsets: [{trafficPolicy: {tsl: {}}}]}",
            &["spec.trafficPolicy.tls.snii", "spec.subsets[0].trafficPolicy.tsl"],
            2,
        );
        check(
            "Gateway",
            "{servers: [{port: {number: 1, nam: x}, tls: {mode: MUTUAL, minProtocolVersion: '1.2'}}]}",
            &["spec.servers[0].port.nam"],
            1,
        );
        check("Gateway", "{servers: {}}", &none, 1);
        check(
            "ServiceEntry",
            "{location: INSIDE, resolution: DNS, endpoints: [{adress: x}]}",
            &["spec.endpoints[0].adress"],
            1,
        );
        // The API server takes an enumeration by its name alone, where MeshConfig may have its number.
        check("PeerAuthentication", "{mtls: {mode: 3}}", &none, 1);
        check(
            "Sidecar",
            "{outboundTrafficPolicy: {mode: ALLOW_ANY}, egress: [{captureMode: NONE}]}",
            &none,
            0,
        );
        check(
            "Sidecar",
            "{outboundTrafficPolicy: {mode: 1}, egress: [{captureMode: 2}], ingress: [{captureMode: OFF}]}",
            &none,
            3,
        );
        check("DestinationRule", "{trafficPolicy: {loadBalancer: {simple: PASS}}}", &none, 1);
        check("EnvoyFilter", "{anything: [goes]}", &none, 0);
    }
}
