//! How what stands at one end is begun anew: in words with the command, and as the patch that the command would make.

use flow::Timestamp;

use crate::mesh::pod::{Controller, Pod};
use crate::patch::{Patch, part};
use crate::report::{Party, PartyKind};
use crate::violation::{Case, Change};

/// The annotation that `kubectl rollout restart` sets on the template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What begins a workload's pods anew.
#[derive(Debug)]
pub(super) struct Restart {
    /// A part of a sentence, with the command where there is one.
    pub(super) words: String,
    /// The same as YAML; absent where no controller makes the pod anew, or it is not known when the pod was made.
    pub(super) change: Option<Change>,
}

/// Begins the client anew, its application too.
pub(super) fn client(case: &Case<'_>) -> Restart {
    restart(case.mesh.client_at(case.flow.client.ip), case.client)
}

/// Begins the server anew, its application too.
pub(super) fn server(case: &Case<'_>) -> Restart {
    restart(case.server_pod().map(|(pod, _)| pod), case.server)
}

/// Begins the client's proxy anew: with the client, or ztunnel alone.
pub(super) fn client_proxy(case: &Case<'_>) -> Restart {
    proxy(case, case.mesh.client_at(case.flow.client.ip), case.client)
}

/// Begins the server's proxy anew: with the server, or ztunnel alone.
pub(super) fn server_proxy(case: &Case<'_>) -> Restart {
    proxy(case, case.server_pod().map(|(pod, _)| pod), case.server)
}

/// The proxy of an ambient pod is its node's ztunnel: making the pod anew leaves that as it is.
fn proxy(case: &Case<'_>, pod: Option<&Pod>, party: &Party) -> Restart {
    if party.kind != PartyKind::Ambient {
        return restart(pod, party);
    }
    let name = format!("ztunnel on the node of {}", party.name());
    match case.mesh.ztunnel_of(pod) {
        Some(ztunnel) => Restart { words: words(Some(ztunnel), &name), change: change(ztunnel) },
        None => Restart {
            words: format!(
                "restart {name} (kubectl -n {} rollout restart daemonset/ztunnel)",
                case.mesh.config.root_namespace
            ),
            change: None,
        },
    }
}

/// Begins a party's pod anew.
pub(super) fn of(pod: &Pod, party: &Party) -> Restart {
    restart(Some(pod), party)
}

fn restart(pod: Option<&Pod>, party: &Party) -> Restart {
    Restart { words: words(pod, &party.name()), change: pod.and_then(change) }
}

fn words(pod: Option<&Pod>, name: &str) -> String {
    let Some(pod) = pod else { return format!("restart {name}") };
    let namespace = &pod.meta.namespace;
    match &pod.controller {
        Some(made) if rolls_out(made) => {
            let kind = made.kind.to_ascii_lowercase();
            format!("restart {name} (kubectl -n {namespace} rollout restart {kind}/{})", made.name)
        }
        Some(made) if made.is_rollout() => {
            format!("restart {name} (kubectl argo rollouts -n {namespace} restart {})", made.name)
        }
        Some(_) => format!("restart {name} (kubectl -n {namespace} delete pod {})", pod.meta.name),
        None if &*pod.meta.kind == "WorkloadEntry" => format!("restart the proxy of the machine {name}"),
        None => format!("create the pod of {name} anew, for nothing else does"),
    }
}

/// The patch that makes the pod's controller replace it.
///
/// kubectl: `pkg/polymorphichelpers/objectrestarter.go`, `defaultObjectRestarter`. Argo Rollouts: `spec.restartAt`.
fn change(pod: &Pod) -> Option<Change> {
    let made = pod.controller.as_ref()?;
    let at = after(pod)?.to_string().replace(".000000000Z", "Z");
    let patch = Patch::create(&made.version, &made.kind, &pod.meta.namespace, &made.name);
    let patch = if made.is_rollout() {
        patch.set("/spec/restartAt", at)
    } else if rolls_out(made) {
        patch.set(&format!("/spec/template/metadata/annotations/{}", part(RESTARTED_AT)), at)
    } else {
        return None;
    };
    Some(Change::new(format!("{}/{}/{}", made.kind, pod.meta.namespace, made.name), patch.yaml()))
}

/// A second after the pod was made. That is later than any restart that made it, so that the template changes; it is the same for
/// all that the pod did; and once the pod is gone the patch is applied already, and replaces nothing that came after.
fn after(pod: &Pod) -> Option<Timestamp> {
    const SECOND: i64 = 1_000_000_000;
    Some(Timestamp::from_nanos(pod.meta.created?.as_nanos().saturating_add(SECOND)))
}

fn rolls_out(made: &Controller) -> bool {
    matches!(made.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet")
}
