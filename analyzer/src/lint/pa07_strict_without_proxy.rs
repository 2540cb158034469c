//! PA07: STRICT where no proxy enforces it.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{by_policy, container_ports, in_mesh_namespace};
use crate::lint::{Problem, Rule};
use crate::policy::Trace;
use crate::policy::interception::{self};
use crate::policy::peer_authentication::effective;
use crate::report::{PartyKind, ServerMode, Severity};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "PA07",
    severity: Severity::High,
    title: "STRICT where no proxy enforces it",
    page: include_str!("../../../docs/findings/PA07.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut bare: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in &mesh.pods {
        let mode = effective(mesh, &pod.meta.namespace, &pod.meta.labels, 0, &mut Trace::default());
        match pod.proxy {
            PartyKind::NoProxy => {
                let root = *pod.meta.namespace == *mesh.config.root_namespace;
                let own = mode.from.starts_with(&format!("PeerAuthentication/{}/", pod.meta.namespace));
                let meant = own || in_mesh_namespace(mesh, &pod.meta.namespace);
                if mode.value == ServerMode::Strict && !root && meant {
                    bare.entry(mode.from).or_default().insert(workload(pod));
                }
            }
            PartyKind::Sidecar => {
                for port in container_ports(mesh, pod)
                    .into_iter()
                    .filter(|port| interception::inbound(pod, *port).is_err())
                {
                    let mode =
                        effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::default());
                    if mode.value == ServerMode::Strict {
                        bare.entry(mode.from).or_default().insert(format!("{} port {port}", workload(pod)));
                    }
                }
            }
            PartyKind::Gateway
            | PartyKind::Waypoint
            | PartyKind::Ambient
            | PartyKind::Node
            | PartyKind::ServiceAddress
            | PartyKind::Declared
            | PartyKind::Unknown => {}
        }
    }
    by_policy(mesh, bare, |policy, pods| {
        let message = format!("{} sets STRICT for {pods}, where no proxy enforces it", policy.meta.id());
        Problem::at(
            &policy.meta,
            policy.mode_line,
            message,
            "Inject the workloads, or stop excluding the ports from interception.",
        )
    })
}
