//! Edges that were met before, with what is declared for them: most connections repeat one.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use flow::Endpoint;
use hashbrown::HashTable;

use crate::expectation::{Expectation, expect};
use crate::mesh::Mesh;
use crate::parties;
use crate::report::Party;
use crate::violation::Advised;

/// How many edges an [`Auditor`](crate::audit::Auditor) keeps unless told otherwise. One costs about
/// 2 KiB with its violation, and 1 KiB for each further kind.
pub const EDGES: usize = 32_768;

/// How many parts the edges are kept in, so that threads seldom wait for each other.
const PARTS: usize = 16;

/// The longest name in a ClientHello whose edge is kept, in bytes: no host name is longer (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 255;

/// All that a judgement takes from the declarations for one connection, whatever was seen of it.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) expectation: Expectation,
    pub(crate) client: Arc<Party>,
    pub(crate) server: Arc<Party>,
    pub(crate) advised: Advised,
}

/// What an edge follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends<'a> {
    /// Which of the auditor's meshes.
    pub(crate) mesh: usize,
    pub(crate) client: IpAddr,
    pub(crate) server: Endpoint,
    pub(crate) sni: Option<&'a str>,
}

/// Edges by their ends, up to a bound. A part that is full is emptied: what is met again is worked out again.
#[derive(Debug)]
pub(crate) struct Edges {
    bound: usize,
    hasher: RandomState,
    parts: Vec<RwLock<HashTable<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    mesh: usize,
    client: IpAddr,
    server: Endpoint,
    sni: Option<Box<str>>,
    edge: Arc<Edge>,
}

impl Kept {
    fn ends(&self) -> Ends<'_> {
        Ends { mesh: self.mesh, client: self.client, server: self.server, sni: self.sni.as_deref() }
    }
}

impl Edge {
    fn of(mesh: &Mesh, ends: Ends<'_>) -> Self {
        Self {
            expectation: expect(mesh, ends.client, ends.server, ends.sni),
            client: Arc::new(parties::client(mesh, ends.client)),
            server: Arc::new(parties::server(mesh, ends.server)),
            advised: Advised::default(),
        }
    }
}

impl Edges {
    /// Keeps this many edges at most.
    pub(crate) fn bounded(bound: usize) -> Self {
        let parts = std::iter::repeat_with(RwLock::default).take(PARTS).collect();
        Self { bound, hasher: RandomState::new(), parts }
    }

    /// Tells whether any are kept.
    pub(crate) fn keeps(&self) -> bool {
        self.bound >= PARTS
    }

    /// Returns the edge between these ends in `mesh`, which `ends` name.
    pub(crate) fn between(&self, mesh: &Mesh, ends: Ends<'_>) -> Arc<Edge> {
        let hash = self.hasher.hash_one(ends);
        // The table itself goes by the lowest and the highest bits.
        let part = usize::try_from(hash >> 32).unwrap_or_default() % PARTS;
        let room = self.bound / PARTS;
        let keeps = room > 0 && ends.sni.is_none_or(|sni| sni.len() <= NAME_BYTES);
        let Some(part) = self.parts.get(part).filter(|_| keeps) else {
            return Arc::new(Edge::of(mesh, ends));
        };
        let known = part.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = known.find(hash, |kept| kept.ends() == ends) {
            return Arc::clone(&kept.edge);
        }
        drop(known);
        let edge = Arc::new(Edge::of(mesh, ends));
        let mut known = part.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= room {
            known.clear();
        }
        // Another thread may have been as fast: then it is there twice, and both say the same.
        let kept = Kept {
            mesh: ends.mesh,
            client: ends.client,
            server: ends.server,
            sni: ends.sni.map(Box::from),
            edge: Arc::clone(&edge),
        };
        known.insert_unique(hash, kept, |kept| self.hasher.hash_one(kept.ends()));
        edge
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().unwrap().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_never_grow_past_their_bound() {
        let (mesh, edges) = (Mesh::default(), Edges::bounded(64));
        let long = "a".repeat(NAME_BYTES + 1);
        for number in 0..1000_u32 {
            let client = IpAddr::from(number.to_be_bytes());
            for sni in [None, Some("a.b"), Some(long.as_str())] {
                let ends = Ends { mesh: 0, client, server: Endpoint { ip: client, port: 80 }, sni };
                let first = edges.between(&mesh, ends);
                let again = edges.between(&mesh, ends);
                assert_eq!(Arc::ptr_eq(&first, &again), sni.is_none_or(|sni| sni.len() < 10));
            }
            assert!(edges.len() <= 64);
        }
    }

    #[test]
    fn edges_of_another_mesh_or_name_are_others() {
        let (mesh, edges) = (Mesh::default(), Edges::bounded(EDGES));
        let client = IpAddr::from([10, 0, 0, 1]);
        let ends = Ends { mesh: 0, client, server: Endpoint { ip: client, port: 80 }, sni: None };
        let first = edges.between(&mesh, ends);
        for other in
            [Ends { mesh: 1, ..ends }, Ends { sni: Some(""), ..ends }, Ends { sni: Some("a"), ..ends }]
        {
            assert!(!Arc::ptr_eq(&first, &edges.between(&mesh, other)), "{other:?}");
        }
        assert_eq!(edges.len(), 4);
    }
}
