//! AB01: DISABLE over workloads of ztunnel, which takes it for PERMISSIVE.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::{by_policy, under};
use crate::lint::{Problem, Rule};
use crate::report::{PartyKind, ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "AB01",
    severity: Severity::Low,
    title: "DISABLE over ambient workloads",
    page: include_str!("../../../docs/findings/AB01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: z}}, mtls: {mode: DISABLE}}",
        also: &["AB04"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let found = under(survey.mesh, ServerMode::Disable, |pod, _| pod.proxy == PartyKind::Ambient);
    by_policy(survey.mesh, found, |policy, pods| {
        let message = format!(
            "{} sets DISABLE for {pods}, which are ambient: it counts as PERMISSIVE, and HBONE goes on",
            policy.meta.id()
        );
        Problem::at(&policy.meta, policy.mode_line, message, "Drop the policy, or say PERMISSIVE.")
    })
}
