//! AM01: Auto mTLS is off and nothing else makes clients send mTLS to STRICT servers.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{Meeting, client_namespaces, hosts};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::patch::mesh_config;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "AM01",
    severity: Severity::High,
    title: "STRICT servers, and auto mTLS is off",
    page: include_str!("../../../docs/findings/AM01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |-\n    # kept\n    enableAutoMtls: false\n    accessLogFile: /dev/stdout\n",
        // The plaintext that is sent instead is refused.
        also: &["XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let config = &survey.mesh.config;
    // Auto mTLS may be on, and not apply to a host that stands outside the mesh by declaration.
    if config.auto_mtls {
        return Vec::new();
    }
    let group: Vec<&Meeting<'_>> =
        survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"AM01")).collect();
    let (Some(meta), false) = (&config.meta, group.is_empty()) else { return Vec::new() };
    let message = format!(
        "enableAutoMtls is false and no ISTIO_MUTUAL rule reaches clients in {}: {} is STRICT and refuses them{}",
        client_namespaces(&group),
        hosts(&group),
        survey.condition()
    );
    let line = config.auto_mtls_line.unwrap_or(meta.line);
    let problem = Problem::at(meta, line, message, "Turn auto mTLS on in MeshConfig.");
    vec![match patch(survey.mesh) {
        Some(yaml) => problem.yaml(yaml),
        None => problem,
    }]
}

/// Turns auto mTLS on; absent where no MeshConfig was read.
pub(super) fn patch(mesh: &Mesh) -> Option<String> {
    mesh_config(&mesh.config, "/enableAutoMtls", true)
}
