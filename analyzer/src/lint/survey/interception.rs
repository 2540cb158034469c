//! What brings traffic back to a pod's proxy: the annotations that keep it away, changed or removed.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::mesh::pod::Pod;
use crate::patch::{Patch, PodPatch, part};

/// The annotation that says how connections come to a pod's proxy, before all other settings.
pub(crate) const MODE: &str = "sidecar.istio.io/interceptionMode";

/// Its value in an ordinary pod.
pub(crate) const REDIRECT: &str = "REDIRECT";

/// Makes the sidecar take what the application dials: the destinations leave the exclusions, or join the inclusions.
pub(crate) fn intercept_outbound(pod: &Pod, dialled: &[(IpAddr, u16)]) -> String {
    let mut patch = whole(pod);
    let holds = |entry: &str, ip: IpAddr| {
        entry == "*"
            || entry.parse::<IpNet>().is_ok_and(|range| range.contains(&ip))
            || entry.parse::<IpAddr>().is_ok_and(|own| own == ip)
    };
    if let Some(list) = annotation(pod, "excludeOutboundPorts") {
        let hit = |entry: &str| dialled.iter().any(|(_, port)| entry.parse() == Ok(*port));
        patch = set(patch, "excludeOutboundPorts", without(list, hit));
    }
    if let Some(list) = annotation(pod, "excludeOutboundIPRanges") {
        let hit = |entry: &str| dialled.iter().any(|(ip, _)| holds(entry, *ip));
        patch = set(patch, "excludeOutboundIPRanges", without(list, hit));
    }
    if let Some(list) = annotation(pod, "includeOutboundIPRanges").filter(|list| list.trim() != "*") {
        let mut longer = list.to_owned();
        for (ip, _) in dialled {
            if !longer.split(',').any(|entry| holds(entry.trim(), *ip)) {
                longer = with(&longer, &IpNet::from(*ip).to_string());
            }
        }
        patch = set(patch, "includeOutboundIPRanges", Some(longer));
    }
    patch.yaml()
}

/// Starts with what takes the whole pod out.
fn whole(pod: &Pod) -> PodPatch {
    let mut patch = Patch::of_pod(pod);
    if pod.redirected == Some(false) {
        patch = patch.set(&pointer(MODE), REDIRECT);
    }
    match annotation(pod, "excludeInterfaces") {
        Some(list) => set(patch, "excludeInterfaces", without(list, |entry| entry == "eth0")),
        None => patch,
    }
}

fn set(patch: PodPatch, name: &str, list: Option<String>) -> PodPatch {
    let pointer = pointer(&format!("traffic.sidecar.istio.io/{name}"));
    patch.set(&pointer, list.map_or(Value::Null, Value::from))
}

fn pointer(annotation: &str) -> String {
    format!("/metadata/annotations/{}", part(annotation))
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.meta.annotations.get(&format!("traffic.sidecar.istio.io/{name}")).map(String::as_str)
}

fn with(list: &str, entry: &str) -> String {
    if list.trim().is_empty() { entry.to_owned() } else { format!("{},{entry}", list.trim()) }
}

/// The entries that stay; absent when none does.
fn without(list: &str, goes: impl Fn(&str) -> bool) -> Option<String> {
    let left: Vec<&str> = list.split(',').map(str::trim).filter(|entry| !goes(entry)).collect();
    (!left.is_empty()).then(|| left.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Manifest, Mesh};

    fn mended(annotations: &str) -> Value {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: ns, annotations: {{{annotations}}}}}\nspec: {{containers: []}}\n"
        );
        let (mesh, errors) = Mesh::load(vec![Manifest { file: "a.yaml".to_owned(), text }]);
        assert!(errors.is_empty(), "{errors:?}");
        let pod = mesh.pods.first().unwrap();
        let dialled = [("10.96.0.1".parse().unwrap(), 443), ("10.96.0.2".parse().unwrap(), 80)];
        let patch: Value = serde_saphyr::from_str(&intercept_outbound(pod, &dialled)).unwrap();
        let annotations = patch.pointer("/metadata/annotations").and_then(Value::as_object);
        annotations.and_then(|annotations| annotations.values().next().cloned()).unwrap_or_default()
    }

    #[test]
    fn ports_and_ranges_leave_the_exclusions() {
        let check = |name: &str, list: &str, left: Option<&str>| {
            let annotation = format!("traffic.sidecar.istio.io/{name}: '{list}'");
            assert_eq!(mended(&annotation), left.map_or(Value::Null, Value::from), "{name} {list}");
        };
        check("excludeOutboundPorts", "443", None);
        check("excludeOutboundPorts", "25, 80,443", Some("25"));
        check("excludeOutboundIPRanges", "10.96.0.0/16", None);
        check("excludeOutboundIPRanges", "10.96.0.2,192.0.2.0/24", Some("192.0.2.0/24"));
        check("includeOutboundIPRanges", "10.96.0.1/32", Some("10.96.0.1/32,10.96.0.2/32"));
        check("excludeInterfaces", "eth0,net1", Some("net1"));
    }
}
