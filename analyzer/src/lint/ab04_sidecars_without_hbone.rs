//! AB04: Sidecars that take nothing but the sidecars' mTLS, in a mesh with clients that never speak it.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::{by_policy, under};
use crate::lint::{Problem, Rule};
use crate::policy::interception;
use crate::report::{PartyKind, ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "AB04",
    severity: Severity::High,
    title: "Sidecars that ambient clients cannot reach",
    page: include_str!("../../../docs/findings/AB04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    if !mesh.has_ambient() {
        return Vec::new();
    }
    let found = under(mesh, ServerMode::Strict, |pod, port| {
        pod.proxy == PartyKind::Sidecar && !pod.hbone() && interception::inbound(pod, port).is_ok()
    });
    by_policy(mesh, found, |policy, pods| {
        let message = format!(
            "{} sets STRICT for {pods}, whose sidecars take no HBONE: ambient clients are refused",
            policy.meta.id()
        );
        Problem::at(
            &policy.meta,
            policy.mode_line,
            message,
            "Set ISTIO_META_ENABLE_HBONE=true for the sidecars, or move the workloads to ambient.",
        )
    })
}
