//! A connection whose addresses were translated on the way is seen as two flows, and judged once.
//!
//! A client without a proxy dials a Service's address, and the node puts a pod's in its place: on one side of the node the
//! flow goes to the Service, on the other to the pod. The bytes are the same on both, so the side that names the workload
//! is judged, and the other one set aside.

use std::collections::HashMap;

use flow::merge::{ALIKE, translated};
use flow::{Flow, FlowId};

use crate::mesh::Mesh;
use crate::parties;
use crate::report::{Judged, Judgement, OtherSide, Party, PartyKind, SetAside};

/// Has the sides of every translation name each other, and sets aside what is judged on another side. Flows whose other
/// side is not among them stay as they are, and so do more than [`ALIKE`] with one handshake: returns how many these are.
pub fn join<'a>(judged: impl IntoIterator<Item = &'a mut Judged>) -> usize {
    let mut judged: Vec<&mut Judged> = judged.into_iter().collect();
    // Few are sides of a translation: the rest is told apart by its handshake alone.
    let mut handshakes: Vec<u64> =
        judged.iter().filter_map(|judged| judged.flow.tcp_handshake).map(|handshake| handshake.0).collect();
    handshakes.sort_unstable();
    let twice = |pair: &[u64]| match pair {
        [one, other] if one == other => Some(*one),
        _ => None,
    };
    let mut shared: Vec<u64> = handshakes.windows(2).filter_map(twice).collect();
    shared.dedup();
    judged.retain(|judged| {
        judged.flow.tcp_handshake.is_some_and(|handshake| shared.binary_search(&handshake.0).is_ok())
    });
    let (found, left) = sides(judged.iter().map(|judged| Side {
        flow: &judged.flow,
        named: Named { server: rank(judged.server.kind), client: rank(judged.client.kind) },
        pod: pod(&judged.server),
    }));
    for judged in &mut judged {
        let Some(found) = found.get(&judged.flow.id) else { continue };
        judged.translated = Some(found.other);
        if found.told_by_other {
            judged.judgement = Judgement::Exempt;
            "judged on the other side of an address translation".clone_into(&mut judged.basis);
            judged.set_aside = Some(SetAside::Translated);
            judged.violations.clear();
        }
    }
    left
}

/// Returns the other side of every flow that has one among them.
#[must_use]
pub fn other_sides<'a>(flows: impl IntoIterator<Item = &'a Flow>) -> HashMap<FlowId, OtherSide> {
    let unnamed = Named { server: 0, client: 0 };
    let (found, _) = sides(flows.into_iter().map(|flow| Side { flow, named: unnamed, pod: None }));
    found.into_iter().map(|(id, found)| (id, found.other)).collect()
}

/// Tells for every flow that has another side among them whether that one tells all of it.
pub(crate) fn told_by_others<'a>(
    mesh: &Mesh,
    flows: impl IntoIterator<Item = &'a Flow>,
) -> HashMap<FlowId, bool> {
    let side = |flow: &'a Flow| {
        let server = parties::server(mesh, flow.server);
        let client = rank(parties::client(mesh, flow.client.ip).kind);
        Side { flow, named: Named { server: rank(server.kind), client }, pod: pod(&server) }
    };
    let sides_of = flows.into_iter().filter(|flow| flow.tcp_handshake.is_some());
    let (found, _) = sides(sides_of.map(side));
    found.into_iter().map(|(id, found)| (id, found.told_by_other)).collect()
}

/// A flow that may be one side of a translation.
struct Side<'a> {
    flow: &'a Flow,
    named: Named,
    /// The pod that is its server, by namespace and name.
    pod: Option<(String, String)>,
}

fn pod(server: &Party) -> Option<(String, String)> {
    Some((server.namespace.clone()?, server.pod.clone()?))
}

/// How well a flow's addresses name its ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    server: u8,
    client: u8,
}

const fn rank(kind: PartyKind) -> u8 {
    match kind {
        PartyKind::Unknown | PartyKind::Node => 0,
        PartyKind::ServiceAddress => 1,
        PartyKind::Declared => 2,
        PartyKind::Sidecar
        | PartyKind::Gateway
        | PartyKind::Waypoint
        | PartyKind::Ambient
        | PartyKind::NoProxy => 3,
    }
}

/// What a flow's other side is.
struct Found {
    other: OtherSide,
    /// Whether nothing is lost where the other side is judged and this one is not.
    told_by_other: bool,
}

/// Finds what each flow's other side is, and how many were left alone because too many are alike. What stays on one host is no side: nothing
/// is judged there.
fn sides<'a>(flows: impl Iterator<Item = Side<'a>>) -> (HashMap<FlowId, Found>, usize) {
    let mut sides: Vec<Side<'_>> =
        flows.filter(|side| side.flow.tcp_handshake.is_some() && !side.flow.is_local()).collect();
    sides.sort_by_key(|side| (side.flow.tcp_handshake, side.flow.start, side.flow.id));
    let (mut found, mut left) = (HashMap::new(), 0_usize);
    for alike in sides.chunk_by(|one, other| one.flow.tcp_handshake == other.flow.tcp_handshake) {
        if alike.len() > ALIKE {
            left = left.saturating_add(alike.len());
            continue;
        }
        // The first of those that name their ends best.
        let Some(best) = alike.iter().rev().max_by_key(|side| side.named) else { continue };
        let Some(other) = alike.iter().find(|side| translated(side.flow, best.flow)) else { continue };
        for side in alike {
            if translated(side.flow, best.flow) {
                let told_by_other = tells_all_of(best, side);
                found.insert(side.flow.id, Found { other: best.flow.into(), told_by_other });
            } else if translated(side.flow, other.flow) {
                found.insert(side.flow.id, Found { other: other.flow.into(), told_by_other: false });
            }
        }
    }
    (found, left)
}

/// Tells whether `best` shows what `side` does, and names an end better without naming the server otherwise, or names the
/// same pod by another of its addresses: a port of its node (`hostPort`) leads to it as well.
fn tells_all_of(best: &Side<'_>, side: &Side<'_>) -> bool {
    let same_pod = best.pod.is_some() && best.pod == side.pod && best.flow.server.ip != side.flow.server.ip;
    let named = best.named.server > side.named.server
        || (best.flow.server == side.flow.server && best.named.client > side.named.client)
        || (same_pod && best.named.client >= side.named.client);
    named && best.flow.security.class() == side.flow.security.class()
}
