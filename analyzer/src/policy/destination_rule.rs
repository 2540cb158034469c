//! Which DestinationRule a client uses for a host, and which tls block of it applies.

use crate::mesh::Mesh;
use crate::mesh::destination_rule::{DestinationRule, Subset, TlsSettings};
use crate::mesh::meta::{Labels, selects};
use crate::policy::sidecar_scope::host_fits;
use crate::policy::{cite, exported};
use crate::report::Citation;

/// The rules that stand for one host, merged: every part keeps the rule that it comes from.
#[derive(Debug, Clone)]
pub struct Merged<'a> {
    /// The rules, the deciding one first; later ones only supply what earlier ones lack.
    pub rules: Vec<&'a DestinationRule>,
}

/// A tls block and the rule it stands in.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    /// The rule.
    pub rule: &'a DestinationRule,
    /// The block; absent where the rule leaves TLS to auto mTLS.
    pub tls: Option<&'a TlsSettings>,
    /// Whether the load balancer is PASSTHROUGH.
    pub passthrough: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The client's namespace.
    pub namespace: &'a str,
    /// The client's labels.
    pub labels: &'a Labels,
}

/// Finds the rule for a host: the client's namespace, then the service's, then the root's. The first that has any
/// match ends the search, and there the most specific host is taken.
///
/// Rule `destination-rule.lookup`. Istio: `push_context.go`, `destinationRule`.
#[must_use]
pub fn lookup<'a>(
    mesh: &'a Mesh,
    asking: Asking<'_>,
    host: &str,
    service_namespace: &str,
    because: &mut Vec<Citation>,
) -> Option<Merged<'a>> {
    let root = mesh.config.root_namespace.as_str();
    let own_is_root = asking.namespace == root;
    let places: [(&str, bool); 3] = [(asking.namespace, true), (service_namespace, false), (root, false)];
    for (place, own) in places {
        let visible: Vec<&DestinationRule> = mesh
            .destination_rules
            .iter()
            .filter(|rule| &*rule.meta.namespace == place)
            .filter(|rule| {
                if own {
                    !own_is_root || rule.is_private()
                } else {
                    exported(&exports(mesh, rule), place, asking.namespace)
                }
            })
            .filter(|rule| host_fits(&full_host(mesh, rule), host))
            .collect();
        let best = visible.iter().map(|rule| full_host(mesh, rule)).max_by_key(|name| specificity(name));
        let Some(best) = best else { continue };
        let same: Vec<&DestinationRule> =
            visible.iter().copied().filter(|rule| full_host(mesh, rule) == best).collect();
        let fits = |rule: &&&DestinationRule| {
            rule.workload_selector
                .as_ref()
                .is_some_and(|selector| place == asking.namespace && selects(selector, asking.labels))
        };
        let first = same
            .iter()
            .find(fits)
            .or_else(|| same.iter().find(|rule| rule.workload_selector.is_none()))
            .copied();
        for loser in visible.iter().filter(|rule| full_host(mesh, rule) != best) {
            because.push(cite(
                "destination-rule.lookup",
                &loser.meta,
                Some("spec.host"),
                loser.host_line,
                "less specific host, hidden",
            ));
        }
        let first = first?;
        let mut rules = vec![first];
        rules.extend(same.iter().copied().filter(|rule| {
            !std::ptr::eq(*rule, first)
                && rule.workload_selector.is_none()
                && covers(&exports(mesh, rule), &exports(mesh, first))
        }));
        return Some(Merged { rules });
    }
    None
}

/// Picks the tls block for a Service port, and for the subset where traffic is routed to one.
///
/// A port's entry replaces the whole policy; a subset overrides field by field, and its own port entry replaces all.
///
/// Rules `destination-rule.port-level`, `destination-rule.subset`. Istio: `MergeSubsetTrafficPolicy`.
#[must_use]
pub fn settings<'a>(
    merged: &Merged<'a>,
    port: u16,
    subset: Option<&str>,
    because: &mut Vec<Citation>,
) -> Option<Chosen<'a>> {
    let first = *merged.rules.first()?;
    let base = merged.rules.iter().find(|rule| rule.policy.is_some()).copied();
    let base_policy = base.and_then(|rule| rule.policy.as_ref());
    for loser in merged.rules.iter().skip(1).filter(|rule| rule.policy.is_some()) {
        if !base.is_some_and(|rule| std::ptr::eq(rule, *loser)) && &*loser.meta.kind != "BackendTLSPolicy" {
            because.push(cite(
                "destination-rule.lookup",
                &loser.meta,
                Some("spec.trafficPolicy"),
                loser.meta.line,
                "younger rule for the same host, its trafficPolicy is ignored",
            ));
        }
    }
    let sub: Option<(&DestinationRule, &Subset)> = subset.and_then(|name| {
        merged.rules.iter().find_map(|rule| {
            rule.subsets.iter().find(|subset| subset.name == name).map(|subset| (*rule, subset))
        })
    });
    let sub_policy = sub.and_then(|(rule, subset)| Some((rule, subset.policy.as_ref()?)));
    let entry = sub_policy
        .and_then(|(rule, policy)| Some((rule, policy.for_port(port)?)))
        .or_else(|| Some((base?, base_policy?.for_port(port)?)));
    let mut chosen = match entry {
        Some((rule, entry)) => {
            because.push(cite(
                "destination-rule.port-level",
                &rule.meta,
                Some("spec.trafficPolicy.portLevelSettings"),
                entry.line,
                "replaces the policy for this Service port",
            ));
            Chosen { rule, tls: entry.tls.as_ref(), passthrough: entry.passthrough }
        }
        None => {
            let from_subset = sub_policy.and_then(|(rule, policy)| Some((rule, policy.tls.as_ref()?)));
            let from_base = base.and_then(|rule| Some((rule, base_policy?.tls.as_ref()?)));
            let passthrough = sub_policy.is_some_and(|(_, policy)| policy.passthrough)
                || base_policy.is_some_and(|policy| policy.passthrough);
            match from_subset.or(from_base) {
                Some((rule, tls)) => Chosen { rule, tls: Some(tls), passthrough },
                None => Chosen { rule: base.unwrap_or(first), tls: None, passthrough },
            }
        }
    };
    if chosen.tls.is_none()
        && let Some((rule, tls)) = backend_policy(merged, port)
    {
        chosen = Chosen { rule, tls: Some(tls), passthrough: chosen.passthrough };
    }
    Some(chosen)
}

/// A BackendTLSPolicy fills in what the user's rules leave open.
fn backend_policy<'a>(merged: &Merged<'a>, port: u16) -> Option<(&'a DestinationRule, &'a TlsSettings)> {
    let backends = || merged.rules.iter().filter(|rule| &*rule.meta.kind == "BackendTLSPolicy");
    let exact =
        backends().find_map(|rule| Some((*rule, rule.policy.as_ref()?.for_port(port)?.tls.as_ref()?)));
    exact.or_else(|| backends().find_map(|rule| Some((*rule, rule.policy.as_ref()?.tls.as_ref()?))))
}

/// Completes a rule's host: one without a dot belongs to the rule's namespace, any other is literal.
#[must_use]
pub fn full_host(mesh: &Mesh, rule: &DestinationRule) -> String {
    if rule.host.contains('.') || rule.host.contains('*') {
        rule.host.to_ascii_lowercase()
    } else {
        format!("{}.{}.svc.{}", rule.host.to_ascii_lowercase(), rule.meta.namespace, mesh.config.domain)
    }
}

fn specificity(host: &str) -> (bool, usize) {
    (!host.starts_with('*'), host.len())
}

fn exports(mesh: &Mesh, rule: &DestinationRule) -> Vec<String> {
    let list = if rule.workload_selector.is_some() {
        vec![".".to_owned()]
    } else if rule.export_to.is_empty() {
        mesh.config.destination_rule_export_to.clone()
    } else {
        rule.export_to.clone()
    };
    list.into_iter().map(|entry| if entry == "." { rule.meta.namespace.to_string() } else { entry }).collect()
}

/// Tells whether one export list reaches at least wherever another does.
fn covers(wide: &[String], narrow: &[String]) -> bool {
    let public = |list: &[String]| list.is_empty() || list.iter().any(|entry| entry == "*");
    public(wide) || (!public(narrow) && narrow.iter().all(|entry| wide.contains(entry)))
}
