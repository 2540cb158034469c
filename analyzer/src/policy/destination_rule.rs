//! DestinationRule: the one rule that acts for a client and a host, and its tls block for a port.

use crate::mesh::destination_rule::{DestinationRule, TlsSettings, TrafficPolicy};
use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::{HostService, Mesh};
use crate::policy::Trace;
use crate::policy::visibility::{covers, exported};

/// The rule that acts, with what merging made of it.
#[derive(Debug, Clone)]
pub struct Acting<'a> {
    /// The rule whose host and traffic policy act.
    pub rule: &'a DestinationRule,
    /// The rule that supplied the traffic policy: another one of the same host where the first had none.
    pub policy_from: &'a DestinationRule,
    /// The traffic policy.
    pub policy: Option<&'a TrafficPolicy>,
    /// All rules merged, the acting one included: the subsets of all count, the first of a name wins.
    pub merged: Vec<&'a DestinationRule>,
}

/// Returns a rule's host as a full name: a name without a dot belongs to the rule's own namespace.
///
/// Istio: `ResolveShortnameToFQDN`.
#[must_use]
pub fn full_host(rule: &DestinationRule, domain: &str) -> String {
    if rule.host.contains('.') || rule.host.contains('*') {
        rule.host.clone()
    } else {
        format!("{}.{}.svc.{domain}", rule.host, rule.meta.namespace)
    }
}

/// Finds the rule that acts for a client (a pod, else a namespace) and a host.
///
/// The client's namespace is asked first, then the service's, then the root namespace; the first with any match ends the
/// search. Within one place the exact host wins, else the longest matching wildcard.
///
/// Rules `destination-rule.lookup`, `destination-rule.most-specific-host`, `destination-rule.merge`.
/// Istio: `push_context.go`, `destinationRule`; `destination_rule.go`, `mergeDestinationRule`.
#[must_use]
pub fn acting<'a>(
    mesh: &'a Mesh,
    client: Option<&Pod>,
    namespace: &str,
    host: &HostService,
    trace: &mut Trace,
) -> Option<Acting<'a>> {
    let root = mesh.config.root_namespace.as_str();
    let domain = &mesh.config.domain;
    let fits = |rule: &&DestinationRule| covers(&full_host(rule, domain), &host.host);
    let default_export = &mesh.config.destination_rule_export_to;
    let seen_by_client = |rule: &&DestinationRule| {
        let to = if rule.export_to.is_empty() { default_export } else { &rule.export_to };
        rule.workload_selector.is_none() && exported(to, &rule.meta.namespace, namespace)
    };
    let places: [(&str, bool); 3] = [(namespace, true), (&host.namespace, false), (root, false)];
    for (place, own) in places {
        let here = mesh.destination_rules.iter().filter(|rule| &*rule.meta.namespace == place).filter(fits);
        let candidates: Vec<&DestinationRule> = if own {
            // In the root namespace only rules that are private to it are found as the client's own.
            here.filter(|rule| place != root || rule.is_private()).collect()
        } else {
            here.filter(seen_by_client).collect()
        };
        // A host that matches ends the search, even where none of its rules is for this workload.
        if !candidates.is_empty() {
            return choose(&candidates, client.filter(|_| own), domain, trace);
        }
    }
    None
}

fn choose<'a>(
    candidates: &[&'a DestinationRule],
    client: Option<&Pod>,
    domain: &str,
    trace: &mut Trace,
) -> Option<Acting<'a>> {
    // Wildcards are all shorter than the exact host that they match, or begin with a star.
    let specificity = |rule: &DestinationRule| {
        let host = full_host(rule, domain);
        (!host.starts_with('*'), host.len())
    };
    let best = candidates.iter().map(|rule| specificity(rule)).max()?;
    for rule in candidates.iter().filter(|rule| specificity(rule) != best) {
        trace.cite(
            "destination-rule.most-specific-host",
            &rule.meta,
            Some("spec.host"),
            rule.host_line,
            format!("host {} matches, a more specific one hides it", rule.host),
        );
    }
    let mut same: Vec<&'a DestinationRule> =
        candidates.iter().copied().filter(|rule| specificity(rule) == best).collect();
    let selecting = |rule: &&&DestinationRule| {
        rule.workload_selector
            .as_ref()
            .is_some_and(|selector| client.is_some_and(|pod| selects(selector, &pod.meta.labels)))
    };
    let chosen: &'a DestinationRule = match same.iter().find(selecting) {
        Some(rule) => rule,
        None => same.iter().find(|rule| rule.workload_selector.is_none())?,
    };
    // Rules merge where the later one is visible wherever the first is; a selecting rule takes what it lacks so, too.
    same.retain(|rule| {
        std::ptr::eq(*rule, chosen)
            || (rule.workload_selector.is_none()
                && same_export(&rule.export_to, &chosen.export_to, chosen.workload_selector.is_some()))
    });
    let policy_from = if chosen.policy.is_some() {
        chosen
    } else {
        same.iter().copied().find(|rule| rule.policy.is_some()).unwrap_or(chosen)
    };
    for rule in same.iter().filter(|rule| !std::ptr::eq(**rule, policy_from) && rule.policy.is_some()) {
        trace.cite(
            "destination-rule.merge",
            &rule.meta,
            Some("spec.trafficPolicy"),
            rule.meta.line,
            "ignored: an older rule for the host has a trafficPolicy",
        );
    }
    trace.cite(
        "destination-rule.lookup",
        &chosen.meta,
        Some("spec.host"),
        chosen.host_line,
        format!("host {} matches", chosen.host),
    );
    Some(Acting { rule: chosen, policy_from, policy: policy_from.policy.as_ref(), merged: same })
}

fn same_export(later: &[String], first: &[String], selecting: bool) -> bool {
    let all = |list: &[String]| list.is_empty() || list.iter().any(|to| to == "*");
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    selecting || (all(later) && all(first)) || sorted(later) == sorted(first)
}

/// The tls block that acts for a Service port and subset, and where it stands.
#[derive(Debug, Clone)]
pub struct TlsBlock<'a> {
    /// The block.
    pub tls: &'a TlsSettings,
    /// The rule that it stands in.
    pub rule: &'a DestinationRule,
    /// Its path in the rule.
    pub field: String,
}

/// Finds the tls block for a Service port: a port's entry replaces the whole policy, so without a block of its own there
/// is none; a subset's policy overrides the one above it.
///
/// Rule `destination-rule.level`. Istio: `networking/util`, `MergeTrafficPolicy`, `MergeSubsetTrafficPolicy`.
#[must_use]
pub fn tls_block<'a>(
    acting: &Acting<'a>,
    port: u16,
    subset: Option<&str>,
    trace: &mut Trace,
) -> Option<TlsBlock<'a>> {
    let named = subset.and_then(|name| {
        acting.merged.iter().find_map(|rule| {
            rule.subsets.iter().find(|subset| subset.name == name).map(|subset| (*rule, subset))
        })
    });
    if let Some((rule, subset)) = named
        && let Some(policy) = &subset.policy
    {
        let path = format!("spec.subsets[{}].trafficPolicy", subset.name);
        if let Some(entry) = policy.for_port(port) {
            return block(
                rule,
                entry.tls.as_ref(),
                format!("{path}.portLevelSettings[{port}].tls.mode"),
                entry.line,
                trace,
            );
        }
        if policy.tls.is_some() {
            return block(rule, policy.tls.as_ref(), format!("{path}.tls.mode"), policy.line, trace);
        }
    }
    let policy = acting.policy?;
    if let Some(entry) = policy.for_port(port) {
        return block(
            acting.policy_from,
            entry.tls.as_ref(),
            format!("spec.trafficPolicy.portLevelSettings[{port}].tls.mode"),
            entry.line,
            trace,
        );
    }
    block(
        acting.policy_from,
        policy.tls.as_ref(),
        "spec.trafficPolicy.tls.mode".to_owned(),
        policy.line,
        trace,
    )
}

fn block<'a>(
    rule: &'a DestinationRule,
    tls: Option<&'a TlsSettings>,
    field: String,
    line: u32,
    trace: &mut Trace,
) -> Option<TlsBlock<'a>> {
    match tls {
        Some(tls) => Some(TlsBlock { tls, rule, field }),
        None => {
            trace.cite(
                "destination-rule.level",
                &rule.meta,
                Some(&field),
                line,
                "no tls block: auto mTLS decides",
            );
            None
        }
    }
}
