//! XC01: The client resolves to no TLS, the server takes nothing but mTLS.

use flow::Class;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{Meeting, blame, client_namespaces, deciding_block, grouped, hosts};
use crate::lint::{Problem, Rule};
use crate::lint::{
    am01_auto_mtls_off, am02_label_denies_mtls, xc04_strict_below_disable, xc06_mixed_headless,
};
use crate::patch::Patch;
use crate::policy::Trace;
use crate::policy::peer_authentication::at_namespace;
use crate::report::{ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "XC01",
    severity: Severity::Critical,
    title: "A client sends no TLS to a STRICT server",
    page: include_str!("../../../docs/findings/XC01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {mode: DISABLE}}}",
        // DISABLE between two sidecars is needless as well as wrong.
        also: &["DR12"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC01") {
        // Subsets of one rule may differ: then it depends on where routes lead a request.
        let all =
            group.iter().all(|meeting| !meeting.expectation.expected.client_wire.contains(&Class::Mtls));
        let which = if all { "every request" } else { "what is routed so" };
        let message = format!(
            "clients in {} send no TLS to {} ({client} decides), where {server} sets STRICT: {which} fails{}",
            client_namespaces(&group),
            hosts(&group),
            survey.condition()
        );
        let (remedy, yaml) = mend(survey, &group);
        let problem = blame(survey.mesh, [client, server], &group, message, remedy);
        problems.push(match yaml {
            Some(yaml) => problem.yaml(yaml),
            None => problem,
        });
    }
    problems
}

/// A rule's block is changed; where auto mTLS itself decides, what makes it decide so.
fn mend(survey: &Survey<'_>, group: &[&Meeting<'_>]) -> (&'static str, Option<String>) {
    let mesh = survey.mesh;
    let Some(meeting) = group.first() else { return ("", None) };
    if let Some(block) = deciding_block(mesh, &meeting.expectation) {
        let remedy = "Set ISTIO_MUTUAL, or remove the tls block so that auto mTLS decides.";
        return (remedy, Some(block.to_mesh_mtls(survey, Patch::of(&block.rule.meta)).yaml()));
    }
    if !mesh.config.auto_mtls {
        return ("Turn auto mTLS on (AM01).", am01_auto_mtls_off::patch(mesh));
    }
    let level = at_namespace(mesh, &meeting.host.namespace, &mut Trace::unheard());
    if level.value == ServerMode::Disable {
        let remedy = "Set the namespace to PERMISSIVE (XC04).";
        return (remedy, Some(xc04_strict_below_disable::patch(mesh, &meeting.host.namespace, &level.from)));
    }
    if meeting.host.original_destination {
        let remedy = "Inject every pod behind the headless service (XC06).";
        return (remedy, xc06_mixed_headless::patch(mesh, meeting.host));
    }
    let label = meeting.server.filter(|_| survey.assumed.is_none()).map(am02_label_denies_mtls::patch);
    ("Let the injector set the label security.istio.io/tlsMode (AM02), then restart the pods.", label)
}
