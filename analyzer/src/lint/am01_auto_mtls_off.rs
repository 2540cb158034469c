//! AM01: Auto mTLS is off and nothing else makes clients send mTLS to STRICT servers.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::Meeting;
use crate::lint::survey::meetings::{client_namespaces, hosts};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "AM01",
    severity: Severity::High,
    title: "STRICT servers, and auto mTLS is off",
    page: include_str!("../../../docs/findings/AM01.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    // Auto mTLS may be on, and not apply to a host that stands outside the mesh by declaration.
    if survey.mesh.config.auto_mtls {
        return Vec::new();
    }
    let group: Vec<&Meeting<'_>> =
        survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"AM01")).collect();
    if group.is_empty() {
        return Vec::new();
    }
    let message = format!(
        "enableAutoMtls is false and no ISTIO_MUTUAL rule reaches clients in {}: {} is STRICT and refuses them",
        client_namespaces(&group),
        hosts(&group)
    );
    let resource = format!("ConfigMap/{}/istio", survey.mesh.config.root_namespace);
    vec![
        Problem::of(resource, message, "Turn auto mTLS on in MeshConfig.")
            .yaml("enableAutoMtls: true\n".to_owned()),
    ]
}
