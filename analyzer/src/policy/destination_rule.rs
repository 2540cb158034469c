//! DestinationRule: the one rule that acts for a client and a host, and its tls block for a port.

use std::collections::BTreeSet;

use crate::mesh::control_plane::IstioVersion;
use crate::mesh::destination_rule::{DestinationRule, Subset, TlsSettings, TrafficPolicy};
use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::{HostService, Mesh};
use crate::policy::Trace;
use crate::policy::visibility::{exported, full_name};
use crate::report::ClientTls;

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
    /// The BackendTLSPolicies under them, oldest first: they fill in what the rules leave out.
    pub backends: Vec<&'a DestinationRule>,
}

impl<'a> Acting<'a> {
    /// Returns the subset of a name, and the rule that it stands in.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<(&'a DestinationRule, &'a Subset)> {
        self.merged.iter().find_map(|rule| {
            rule.subsets.iter().find(|subset| subset.name == name).map(|subset| (*rule, subset))
        })
    }
}

/// Returns a rule's host as a full name.
#[must_use]
pub fn full_host(rule: &DestinationRule, domain: &str) -> String {
    full_name(&rule.host, &rule.meta.namespace, domain)
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
    let default_private = mesh.config.destination_rule_export_to.iter().any(|to| to == ".");
    let private =
        |rule: &DestinationRule| rule.is_private() || (rule.export_to.is_empty() && default_private);
    let places: [(&str, bool); 3] = [(namespace, true), (&host.namespace, false), (root, false)];
    for (place, own) in places {
        let here = mesh.destination_rules_for(place, &host.host);
        let candidates: Vec<&DestinationRule> = if !own {
            here.filter(|rule| !private(rule)).collect()
        } else if place == root {
            // In the root namespace only rules that are private to it are found as the client's own.
            here.filter(|rule| private(rule)).collect()
        } else {
            here.filter(|rule| rule.workload_selector.is_some() || exported(&rule.export_to, place, place))
                .collect()
        };
        let merges = mesh.control_plane.version.merges_backend_policies();
        let mut found = most_specific(&candidates, domain, trace);
        // Without a creation time what istiod makes of a policy is older than every rule.
        if !merges {
            found.sort_by_key(|rule| !rule.is_backend_policy());
        }
        let mut entries = consolidated(&found, merges);
        if !own {
            // The most specific host is found first; only then counts whom it is exported to.
            entries.retain(|entry| exported_to_client(&entry.first.export_to, namespace));
        }
        // A host that matches ends the search, even where none of its rules is for this workload.
        if !entries.is_empty() {
            return choose(&entries, client.filter(|_| own), merges, trace);
        }
    }
    None
}

/// Tells whether a rule of another namespace is exported to the client's: `.` says nothing there.
fn exported_to_client(export_to: &[String], namespace: &str) -> bool {
    export_to.is_empty() || export_to.iter().any(|to| to == "*" || to == namespace)
}

fn most_specific<'a>(
    candidates: &[&'a DestinationRule],
    domain: &str,
    trace: &mut Trace,
) -> Vec<&'a DestinationRule> {
    // Wildcards are all shorter than the exact host that they match, or begin with a star.
    let specificity = |rule: &DestinationRule| {
        let host = full_host(rule, domain);
        (!host.starts_with('*'), host.len())
    };
    let best = candidates.iter().map(|rule| specificity(rule)).max();
    for rule in candidates.iter().filter(|rule| Some(specificity(rule)) != best) {
        trace.cite(
            "destination-rule.most-specific-host",
            &rule.meta,
            Some("spec.host"),
            rule.host_line,
            format_args!("host {} matches, a more specific one hides it", rule.host),
        );
    }
    candidates.iter().copied().filter(|rule| Some(specificity(rule)) == best).collect()
}

/// A rule with the later ones of its host and namespace that are merged into it.
struct Entry<'a> {
    first: &'a DestinationRule,
    merged: Vec<&'a DestinationRule>,
}

impl Entry<'_> {
    fn exported_to(&self) -> BTreeSet<&str> {
        export_set(self.first)
    }
}

fn export_set(rule: &DestinationRule) -> BTreeSet<&str> {
    if rule.workload_selector.is_some() {
        // A rule for workloads is private to its namespace, whatever it says.
        BTreeSet::from(["."])
    } else {
        rule.export_to.iter().map(String::as_str).collect()
    }
}

/// Merges the rules of one host and namespace, in the order in which they compete.
///
/// Rules exported alike become one. A rule exported further than an earlier one is merged into that and stands for itself
/// only where that one is not seen; others are kept apart. What a BackendTLSPolicy declares, exported to all without saying
/// so, lies under the rules that are exported alike.
///
/// Rule `destination-rule.merge`. Istio: `mergeDestinationRule`.
fn consolidated<'a>(rules: &[&'a DestinationRule], merges_backend_policies: bool) -> Vec<Entry<'a>> {
    let beneath = |rule: &DestinationRule| merges_backend_policies && rule.is_backend_policy();
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for &rule in rules {
        let own = export_set(rule);
        let (mut apart, mut behind) = (true, false);
        for entry in &mut entries {
            let earlier = entry.exported_to();
            let alike = own == earlier;
            let further = !earlier.is_empty() && own.is_superset(&earlier);
            if !alike && !further {
                continue;
            }
            let same_selector = rule.workload_selector == entry.first.workload_selector;
            if rule.workload_selector.is_some() && !same_selector {
                continue;
            }
            if same_selector && beneath(rule) == beneath(entry.first) {
                apart &= !alike;
                behind |= !alike;
            }
            entry.merged.push(rule);
        }
        if apart {
            let place = if behind { 0 } else { entries.len() };
            entries.insert(place, Entry { first: rule, merged: vec![rule] });
        }
    }
    entries
}

fn choose<'a>(
    entries: &[Entry<'a>],
    client: Option<&Pod>,
    merges_backend_policies: bool,
    trace: &mut Trace,
) -> Option<Acting<'a>> {
    let beneath = |rule: &DestinationRule| merges_backend_policies && rule.is_backend_policy();
    let selecting = |entry: &&Entry<'_>| {
        entry
            .first
            .workload_selector
            .as_ref()
            .is_some_and(|selector| client.is_some_and(|pod| selects(selector, &pod.meta.labels)))
    };
    let for_all = |entry: &&Entry<'_>| entry.first.workload_selector.is_none();
    // Of several that are for all workloads the last one counts, and before any that only a policy stands for.
    let entry = entries
        .iter()
        .find(selecting)
        .or_else(|| entries.iter().rev().filter(for_all).find(|entry| !beneath(entry.first)))
        .or_else(|| entries.iter().rev().find(for_all))?;
    let chosen = entry.first;
    let (backends, merged): (Vec<_>, Vec<_>) = entry.merged.iter().copied().partition(|rule| beneath(rule));
    let policy_from = merged
        .iter()
        .copied()
        .find(|rule| rule.policy.is_some())
        .or_else(|| backends.first().copied())
        .unwrap_or(chosen);
    for rule in merged.iter().filter(|rule| !std::ptr::eq(**rule, policy_from) && rule.policy.is_some()) {
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
        format_args!("host {} matches", chosen.host),
    );
    let policy = policy_from.policy.as_ref();
    Some(Acting { rule: chosen, policy_from, policy, merged, backends })
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
    let named = subset.and_then(|name| acting.subset(name));
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
    let under = |tls: fn(&TrafficPolicy, u16) -> Option<&TlsSettings>| {
        acting.backends.iter().find_map(|rule| Some((*rule, tls(rule.policy.as_ref()?, port)?)))
    };
    let field = format!("spec.trafficPolicy.portLevelSettings[{port}].tls.mode");
    let own = policy.for_port(port);
    if own.is_none_or(|entry| entry.tls.is_none())
        && let Some((rule, tls)) = under(|policy, port| policy.for_port(port)?.tls.as_ref())
    {
        return Some(TlsBlock { tls, rule, field });
    }
    if let Some(entry) = own {
        return block(acting.policy_from, entry.tls.as_ref(), field, entry.line, trace);
    }
    let field = "spec.trafficPolicy.tls.mode".to_owned();
    if policy.tls.is_none()
        && let Some((rule, tls)) = under(|policy, _| policy.tls.as_ref())
    {
        return Some(TlsBlock { tls, rule, field });
    }
    block(acting.policy_from, policy.tls.as_ref(), field, policy.line, trace)
}

/// Returns the mode that the endpoints' own check takes from the rule: unlike what the client's side does, it falls back to
/// the tls block above a port entry that has none. Absent where it finds none either: then the endpoints themselves tell.
///
/// Rule `destination-rule.endpoint-mode`. Istio: `mtls_checker.go`, `tlsModeForDestinationRule`.
#[must_use]
pub fn endpoint_mode(
    acting: &Acting<'_>,
    port: u16,
    subset: Option<&str>,
    version: IstioVersion,
) -> Option<ClientTls> {
    let of = |policy: &TrafficPolicy| {
        let own = policy.for_port(port).and_then(|entry| entry.tls.as_ref());
        own.or(policy.tls.as_ref()).map(|tls| tls.mode)
    };
    let top = || acting.policy.and_then(of);
    let Some(name) = subset else { return top() };
    let own = acting.subset(name).and_then(|(_, subset)| subset.policy.as_ref()).and_then(of);
    own.or_else(|| if version.subsets_follow_the_top() { top() } else { None })
}

/// Tells whether the load balancer that acts for a Service port and subset is PASSTHROUGH.
#[must_use]
pub fn load_balancer_passthrough(acting: &Acting<'_>, port: u16, subset: Option<&str>) -> bool {
    let own = subset.and_then(|name| acting.subset(name)?.1.policy.as_ref());
    let at_port = [own, acting.policy].into_iter().flatten().find_map(|policy| policy.for_port(port));
    match at_port {
        Some(entry) => entry.passthrough,
        None => [own, acting.policy].into_iter().flatten().any(|policy| policy.passthrough),
    }
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
            trace.cite_at(
                "destination-rule.level",
                &rule.meta,
                field,
                line,
                "no tls block: auto mTLS decides",
            );
            None
        }
    }
}
