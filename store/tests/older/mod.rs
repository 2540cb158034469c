//! What a store kept before it was brought up to date.

use analyzer::mesh::Manifest;
use flow::{Coverage, TcpHandshake, Timestamp};
use store::Batch;
use store::answer::MeshSnapshot;
use store::contract::many;

pub(crate) fn kept() -> Batch {
    let coverage = Coverage { packets: 9, ..Coverage::default() };
    Batch { flows: many(), coverage: [("node-a".to_owned(), coverage)].into(), ..Batch::default() }
}

/// Flows that are told again with what no older version knew.
pub(crate) fn told_again() -> Batch {
    let mut flows = many();
    flows.truncate(20);
    for judged in &mut flows {
        judged.flow.tcp_handshake = Some(TcpHandshake(7));
        judged.translated = Some((&judged.flow).into());
    }
    Batch { flows, ..Batch::default() }
}

pub(crate) fn mesh() -> MeshSnapshot {
    let manifest = Manifest { file: "mesh.yaml".into(), text: "kind: Pod".into() };
    MeshSnapshot::new(Timestamp::from_nanos(5), vec![manifest])
}
