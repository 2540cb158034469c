//! What Istio's webhook refuses although the API server's schema would let it pass.
//!
//! An object that is refused never comes into the cluster: it has no effect. One that carries what only an API server sets (see
//! [`is_stored`]) is there all the same, stored before the webhook was or around it, and istiod reads it. What the API server
//! itself refuses by the rules in the Gateway API's schemas counts likewise. Source: istio,
//! `pkg/config/validation/validation.go` and `agent/validation.go`, named at each function.

mod destination_rule;
mod gateway;
mod gateway_api;
mod headers;
mod http_route;
mod names;
mod peer_authentication;
mod service_entry;
mod sidecar;
mod traffic_policy;
mod virtual_service;
mod workload_entry;

use crate::mesh::node::Node;
use crate::mesh::service::Protocol;

/// One reason for which an object is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Line of what is wrong.
    pub(super) line: u32,
    /// What is wrong.
    pub(super) why: String,
    /// The id of the finding that says the same and mends it, where the catalogue has one.
    pub(super) finding: Option<&'static str>,
}

/// The reasons that were found so far.
#[derive(Debug, Default)]
struct Refusals(Vec<Refusal>);

impl Refusals {
    fn add(&mut self, at: &Node, why: impl Into<String>) {
        self.0.push(Refusal { line: at.line, why: why.into(), finding: None });
    }

    /// Adds a reason that has an id in the catalogue.
    fn add_known(&mut self, at: &Node, finding: &'static str, why: impl Into<String>) {
        self.0.push(Refusal { line: at.line, why: why.into(), finding: Some(finding) });
    }

    /// Adds what is wrong with a value, if anything is.
    fn check(&mut self, at: &Node, checked: Result<(), String>) {
        if let Err(why) = checked {
            self.add(at, why);
        }
    }
}

/// Tells whether an object comes from an API server: only one sets these.
pub(super) fn is_stored(object: &Node) -> bool {
    ["creationTimestamp", "uid", "resourceVersion"]
        .iter()
        .any(|field| object.at(&["metadata", field]).is_some())
}

/// Returns why Istio's webhook refuses an object; nothing for one that it takes and for kinds that it does not look at.
pub(super) fn refusals(group: &str, kind: &str, namespace: &str, object: &Node) -> Vec<Refusal> {
    let mut found = Refusals::default();
    let nothing = Node { line: object.line, key_line: object.line, value: crate::mesh::node::Value::Null };
    let spec = object.get("spec").unwrap_or(&nothing);
    if matches!(group, "gateway.networking.k8s.io" | "gateway.networking.x-k8s.io") {
        let version = object.get("apiVersion").and_then(Node::scalar).unwrap_or_default();
        gateway_api::check(kind, version.ends_with("/v1alpha2"), spec, &mut found);
        return found.0;
    }
    if !matches!(group, "networking.istio.io" | "security.istio.io") {
        return found.0;
    }
    annotations(kind, object, &mut found);
    match kind {
        "PeerAuthentication" => peer_authentication::check(spec, &mut found),
        "DestinationRule" => destination_rule::check(spec, namespace, &mut found),
        "Gateway" => gateway::check(object, spec, &mut found),
        "ServiceEntry" => service_entry::check(spec, namespace, &mut found),
        "Sidecar" => sidecar::check(spec, &mut found),
        "VirtualService" => virtual_service::check(spec, namespace, &mut found),
        "WorkloadEntry" => workload_entry::check(spec, &mut found),
        _ => {}
    }
    found.0
}

/// Annotations for which an object is refused.
const ANNOTATIONS: &[(&str, &str)] = &[
    ("istio.io/dry-run", "is for AuthorizationPolicies only"),
    ("internal.istio.io/webhook-always-reject", "asks to be refused"),
    ("internal.istio.io/parents", "is for Istio itself to set"),
    ("internal.istio.io/parent-namespace", "is for Istio itself to set"),
];

/// A dry run is known for AuthorizationPolicies only: any other object that asks for one is refused, not tried out.
///
/// Istio: `checkDryRunAnnotation`, `validateMetadata`.
fn annotations(kind: &str, object: &Node, found: &mut Refusals) {
    let Some(annotations) = object.at(&["metadata", "annotations"]) else { return };
    for (name, why) in ANNOTATIONS {
        let known = kind == "AuthorizationPolicy" && *name == "istio.io/dry-run";
        if let Some(node) = annotations.get(name).filter(|_| !known) {
            found.add(node, format!("metadata.annotations: {name} {why}"));
        }
    }
}

/// Istio: `validateWorkloadSelector`, `ValidateAlphaWorkloadSelector`.
fn selector(labels: Option<&Node>, path: &str, found: &mut Refusals) {
    for (key, value) in labels.map(Node::entries).unwrap_or_default() {
        let text = value.scalar().unwrap_or_default();
        if key.is_empty() {
            found.add(value, format!("{path} has an empty key"));
        } else if key.contains('*') || text.contains('*') {
            found.add(value, format!("{path} '{key}: {text}' has a wildcard, which selects nothing"));
        }
    }
}

/// Istio: `validateExportTo`. A ServiceEntry alone may be exported to nobody (`~`).
fn export_to(spec: &Node, namespace: &str, entry: bool, found: &mut Refusals) -> Vec<String> {
    let Some(list) = spec.get("exportTo") else { return Vec::new() };
    let mut seen: Vec<String> = Vec::new();
    for item in list.items() {
        let text = item.scalar().unwrap_or_default();
        let meant = if text == "." { namespace.to_owned() } else { text.clone() };
        if seen.contains(&meant) {
            found.add(item, format!("spec.exportTo names '{text}' twice"));
            continue;
        }
        match text.as_str() {
            "." | "*" => {}
            "~" if entry => {}
            "~" => found.add(item, "spec.exportTo '~' is for ServiceEntries only"),
            _ if names::is_label(&text) => {}
            _ => found
                .add(item, format!("spec.exportTo '{text}' is none of '.', '*' and the name of a namespace")),
        }
        seen.push(meant);
    }
    for alone in ["*", "~"] {
        if seen.len() > 1 && seen.iter().any(|to| to == alone) {
            found.add(list, format!("spec.exportTo has '{alone}' beside others"));
        }
    }
    seen
}

/// Istio: `labels.Instance.Validate`. A key is a name, behind a DNS name and a slash at most; a value is like a name, or
/// empty.
fn labels(node: Option<&Node>, path: &str, found: &mut Refusals) {
    for (key, value) in node.map(Node::entries).unwrap_or_default() {
        let text = value.scalar().unwrap_or_default();
        let name = match key.split_once('/') {
            Some((prefix, name)) => names::whole(prefix).map_or("", |()| name),
            None => key.as_str(),
        };
        if !names::is_qualified(name) {
            found.add(value, format!("{path}: '{key}' is no key of a label"));
        }
        if !text.is_empty() && !names::is_qualified(&text) {
            found.add(value, format!("{path}.{key}: '{text}' is no value of a label"));
        }
    }
}

/// A duration is a whole number of milliseconds, and one at least. Istio: `ValidateDuration`.
fn duration(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(node) = node else { return };
    let text = node.scalar().unwrap_or_default();
    if nanoseconds(&text).is_none_or(|span| span == 0 || span % 1_000_000 != 0) {
        found.add(node, format!("{path} '{text}' is no duration of whole milliseconds, and of one at least"));
    }
}

/// Reads a duration as Go writes it, `1h30m` or `1.5s`.
fn nanoseconds(text: &str) -> Option<u128> {
    let units: [(&str, u128); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (mut rest, mut sum) = (text, 0_u128);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let letters = behind.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(letters)?;
        let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let mut place = *size;
        for digit in part.chars() {
            place /= 10;
            sum = sum.checked_add(u128::from(digit.to_digit(10)?).checked_mul(place)?)?;
        }
        let whole: u128 = if whole.is_empty() && !part.is_empty() { 0 } else { whole.parse().ok()? };
        sum = sum.checked_add(whole.checked_mul(*size)?)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(sum)
}

/// A share of requests in percent: none, or a ten thousandth of a percent at least. Istio: `validatePercentage`.
fn percentage(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(node) = node else { return };
    let value: Option<f64> = node.scalar().and_then(|text| text.parse().ok());
    if !value.is_some_and(|value| value == 0.0 || (0.0001..=100.0).contains(&value)) {
        found.add(node, format!("{path} is no percentage from 0.0001 to 100"));
    }
}

/// Istio: `ValidatePort`.
fn port(number: Option<&Node>, at: &Node, path: &str, found: &mut Refusals) {
    let value = number.and_then(Node::number).unwrap_or(0);
    if !(1..=65535).contains(&value) {
        found.add(number.unwrap_or(at), format!("{path} {value} is no port from 1 to 65535"));
    }
}

/// Istio: `ValidateProtocol`, `protocol.Parse`.
fn is_protocol(text: &str) -> bool {
    let beside = ["HTTP_PROXY", "HBONE"];
    Protocol::parse(text) != Protocol::Unsupported
        || beside.iter().any(|name| name.eq_ignore_ascii_case(text))
}

/// Returns the text of a field; absent for none and for an empty one, which protocol buffers do not tell apart.
fn text(node: &Node, field: &str) -> Option<String> {
    node.get(field).and_then(Node::scalar).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
