//! One connection that several agents saw is one flow.
//!
//! Inside one capture the engine sees to that. Between captures a connection is known by its opening
//! ([`Flow::opening`]): the ends, the client's initial sequence number, and starts that lie within [`WINDOW`].

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{
    AuthWord, Class, ClientAuth, Close, Flow, FlowId, PerSide, Presented, Protocol, Reason, Security,
    Timestamp, Upgrade,
};

/// How far apart two sightings of one connection may begin, in nanoseconds: clocks differ, and a SYN may be lost before
/// one of the capture points. Linux repeats an initial sequence number between the same ends after 274 s.
pub const WINDOW: i64 = 5_000_000_000;

/// Tells whether `new`, from `agent`, is the connection that `known` is. Neither is unless its opening was seen.
///
/// An agent names a connection once, so what only it saw under another name is another connection. Of what others saw
/// too, it saw a part that began no later than the whole ended.
#[must_use]
pub fn same(known: &Flow, new: &Flow, agent: &str) -> bool {
    if known.id == new.id {
        return true;
    }
    let apart = known.start.as_nanos().abs_diff(new.start.as_nanos());
    new.opening().is_some()
        && known.opening() == new.opening()
        && (known.client, known.server) == (new.client, new.server)
        && apart <= WINDOW.unsigned_abs()
        && (!seen_by(known, agent) || (!seen_by_none_but(known, agent) && new.start <= known.end))
}

/// Tells whether two flows that are kept under names of their own, each with what one or several agents saw, are one connection: the
/// same opening, and no agent that names both; of what an agent shares with others it may have seen a part under a name of its own, which
/// began no later than the whole ended. Whichever of the two is asked about.
#[must_use]
pub fn same_kept(one: &Flow, other: &Flow) -> bool {
    let (first, second) =
        if (one.start, one.id) <= (other.start, other.id) { (one, other) } else { (other, one) };
    let agents = |flow: &Flow| -> BTreeSet<String> {
        let agent = |point: &String| point.split('/').next().unwrap_or_default().to_owned();
        flow.seen_at.iter().map(agent).collect()
    };
    let (of_first, of_second) = (agents(first), agents(second));
    first.id == second.id
        || (first.opening().is_some()
            && first.opening() == second.opening()
            && (first.client, first.server) == (second.client, second.server)
            && first.start.as_nanos().abs_diff(second.start.as_nanos()) <= WINDOW.unsigned_abs()
            && (of_first.is_disjoint(&of_second)
                || (of_first.len() + of_second.len() > 2 && second.start <= first.end)))
}

/// How many flows are looked at, at most, as sightings or as sides of one connection. A connection has a few; who makes packets on both ends can
/// give any number the same numbers, which then tell nothing.
pub const ALIKE: usize = 64;

/// Tells whether two flows are one connection before and after its addresses were translated (a Service's address, a node
/// port, a masquerading node): other ends, the same SYN-ACK ([`Flow::tcp_handshake`]), and starts within [`WINDOW`].
///
/// The kernel's translation leaves sequence numbers and timestamps alone; a proxy begins a connection with its own.
#[must_use]
pub fn translated(one: &Flow, other: &Flow) -> bool {
    one.tcp_handshake.is_some()
        && one.tcp_handshake == other.tcp_handshake
        && (one.client, one.server) != (other.client, other.server)
        && one.start.as_nanos().abs_diff(other.start.as_nanos()) <= WINDOW.unsigned_abs()
}

/// Tells whether one of the flow's capture points is the agent's, as [`place`] names them.
#[must_use]
pub fn seen_by(flow: &Flow, agent: &str) -> bool {
    flow.seen_at.iter().any(|point| belongs(point, agent))
}

/// Tells whether nobody but the agent saw the flow.
#[must_use]
pub fn seen_by_none_but(flow: &Flow, agent: &str) -> bool {
    flow.seen_at.iter().all(|point| belongs(point, agent))
}

fn belongs(point: &str, agent: &str) -> bool {
    point.strip_prefix(agent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Puts the agent's name before its capture points: `node-a/veth1`; `node-a` alone where they have no name.
pub fn place(flow: &mut Flow, agent: &str) {
    if flow.seen_at.is_empty() {
        flow.seen_at.push(agent.to_owned());
    } else {
        for point in &mut flow.seen_at {
            *point = format!("{agent}/{point}");
        }
    }
}

/// Makes one flow of two sightings of one connection, whatever their order.
///
/// Name and start are those of the earlier one, the end is the later one. Counts are the larger ones: what both saw is
/// the same. An answer replaces `unknown`, a proven one a weaker one of its kind, a refused certificate one
/// whose refusal was not seen; answers that contradict each other
/// become `unknown`, because of `conflict`, and stay so.
#[must_use]
pub fn merge(one: &Flow, other: &Flow) -> Flow {
    let (first, second) =
        if (one.start, one.id) <= (other.start, other.id) { (one, other) } else { (other, one) };
    let (better, worse) = if weight(first) >= weight(second) { (first, second) } else { (second, first) };
    let (security, protocol, upgrade) = protection(better, worse);
    let mut seen_at = [first.seen_at.as_slice(), second.seen_at.as_slice()].concat();
    seen_at.sort();
    seen_at.dedup();
    Flow {
        id: first.id,
        start: first.start,
        end: first.end.max(second.end),
        transport: first.transport,
        client: first.client,
        server: first.server,
        // What one agent saw within a tunnel another one may have seen outside of it.
        tunnel: [first, second]
            .map(|flow| &flow.tunnel)
            .into_iter()
            .min_by_key(|tunnel| (tunnel.len(), format!("{tunnel:?}")))
            .cloned()
            .unwrap_or_default(),
        seen_at,
        protocol,
        upgrade,
        security,
        from_start: first.from_start || second.from_start,
        tcp_handshake: first.tcp_handshake.or(second.tcp_handshake),
        close: if ended(first.close) >= ended(second.close) { first.close } else { second.close },
        packets: larger(first.packets, second.packets),
        bytes: larger(first.bytes, second.bytes),
    }
}

/// What two sightings say together, of which `better` has the more evidence.
fn protection(better: &Flow, worse: &Flow) -> (Security, Option<Protocol>, Option<Upgrade>) {
    let unknown = Security::Unknown(Reason::Conflict);
    let conflict = match (&better.security, &worse.security) {
        (one, other) if *one == unknown || *other == unknown => Some(unknown),
        (Security::Tls(one, left), Security::Tls(other, right)) if contradict(*left, *right) => {
            let hidden =
                |session: &Arc<_>| Security::Tls(Arc::clone(session), ClientAuth::Hidden(Reason::Conflict));
            let (one, other) = (hidden(one), hidden(other));
            let words = |security: &Security| words(&Flow { security: security.clone(), ..better.clone() });
            Some(if words(&one) >= words(&other) { one } else { other })
        }
        (Security::Unknown(_), _) | (_, Security::Unknown(_)) | (Security::Tls(..), Security::Tls(..)) => {
            None
        }
        (one, other) if one.class() == other.class() => None,
        _ => Some(unknown),
    };
    if let Some(security) = conflict {
        let protocol = better.protocol.filter(|_| better.protocol == worse.protocol);
        let upgrade = better.upgrade.filter(|_| better.upgrade == worse.upgrade);
        return (security, protocol, upgrade);
    }
    let security = better.security.clone();
    if security.class() == worse.security.class() {
        (security, better.protocol.or(worse.protocol), better.upgrade.or(worse.upgrade))
    } else {
        (security, better.protocol, better.upgrade)
    }
}

/// Tells whether two answers on the client's certificate cannot both hold, or whether one knows of such a pair.
const fn contradict(one: ClientAuth, other: ClientAuth) -> bool {
    matches!(
        (one, other),
        (ClientAuth::Proved(..), ClientAuth::Refuted(..))
            | (ClientAuth::Refuted(..), ClientAuth::Proved(..))
            | (ClientAuth::Hidden(Reason::Conflict), _)
            | (_, ClientAuth::Hidden(Reason::Conflict))
    )
}

/// Orders sightings by how much they know: a refusal over what did not see it, whatever the proof, since it takes nothing
/// but a packet less to miss it; then the proof, then any answer over none, then the weaker claim, then the more words. Two
/// that weigh the same say the same.
fn weight(flow: &Flow) -> impl Ord {
    let refused = matches!(flow.security, Security::Tls(_, ClientAuth::Proved(Presented::Rejected, _)));
    let claim = match (flow.security.class(), &flow.security) {
        (Class::Unknown, _) => 0,
        (_, Security::Tls(_, client)) if client.word() == AuthWord::Certificate => 1,
        _ => 2,
    };
    let words = words(flow);
    (refused, flow.security.evidence().proof, claim, words.len(), words)
}

/// What a sighting says of the protection, in words that order sightings which are otherwise alike.
fn words(flow: &Flow) -> Vec<u8> {
    let blank = Flow {
        id: FlowId(0),
        start: Timestamp::from_nanos(0),
        end: Timestamp::from_nanos(0),
        tunnel: Vec::new(),
        seen_at: Vec::new(),
        from_start: true,
        tcp_handshake: None,
        close: Close::Open,
        packets: PerSide::default(),
        bytes: PerSide::default(),
        ..flow.clone()
    };
    let mut words = Vec::new();
    blank.write_json(&mut words);
    words
}

/// Orders ends of connections: those on the wire over those of watching.
const fn ended(close: Close) -> u8 {
    match close {
        Close::Open => 0,
        Close::Evicted => 1,
        Close::CaptureEnd => 2,
        Close::Idle => 3,
        Close::Reused => 4,
        Close::Fin => 5,
        Close::Reset => 6,
    }
}

fn larger(one: PerSide, other: PerSide) -> PerSide {
    PerSide { client: one.client.max(other.client), server: one.server.max(other.server) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Endpoint, Evidence, Proof, TcpHandshake, TlsSession, Transport, Tunnel, Withheld};

    fn securities() -> impl Strategy<Value = Security> {
        let proof = prop_oneof![
            Just(Evidence::because(Proof::Inferred, Reason::OneSided)),
            Just(Evidence::because(Proof::Linked, Reason::SessionLink)),
            Just(Evidence::because(Proof::Strong, Reason::FlightSize)),
            Just(Evidence { proof: Proof::Exact, reason: None }),
            Just(Evidence::WIRE),
        ];
        let reason = prop_oneof![Just(Reason::Gap), Just(Reason::OneSided), Just(Reason::Conflict)];
        let session = prop_oneof![Just(None), Just(Some("a".to_owned())), Just(Some("b".to_owned()))]
            .prop_map(|sni| Arc::new(TlsSession { sni, ..TlsSession::default() }));
        let client = prop_oneof![
            proof.clone().prop_map(|proof| ClientAuth::Proved(Presented::Sent, proof)),
            proof.clone().prop_map(|proof| ClientAuth::Proved(Presented::Rejected, proof)),
            proof.clone().prop_map(|proof| ClientAuth::Refuted(Withheld::Absent, proof)),
            proof.clone().prop_map(|proof| ClientAuth::Refuted(Withheld::Declined, proof)),
            reason.clone().prop_map(ClientAuth::Hidden),
        ];
        prop_oneof![
            proof.clone().prop_map(Security::Plaintext),
            proof.prop_map(Security::Opaque),
            reason.prop_map(Security::Unknown),
            (session, client).prop_map(|(session, client)| Security::Tls(session, client)),
        ]
    }

    fn flows() -> impl Strategy<Value = Flow> {
        let counts = || (0..4_u64, 0..4_u64).prop_map(|(client, server)| PerSide { client, server });
        let close =
            prop_oneof![Just(Close::Open), Just(Close::Fin), Just(Close::Reset), Just(Close::CaptureEnd)];
        let points =
            prop::collection::btree_set(prop_oneof![Just("a/veth1"), Just("a/veth2"), Just("b")], 0..3);
        let tunnels = prop_oneof![Just(vec![]), Just(vec![Tunnel::Gre]), Just(vec![Tunnel::Vxlan(7)])];
        let words = (
            prop_oneof![Just(None), Just(Some(Protocol::Http1)), Just(Some(Protocol::Grpc))],
            prop_oneof![Just(None), Just(Some(Upgrade::Postgres))],
        );
        (
            securities(),
            words,
            0..6_i64,
            0..9_i64,
            (any::<bool>(), prop_oneof![Just(None), Just(Some(TcpHandshake(3)))], close),
            points,
            tunnels,
            (counts(), counts()),
        )
            .prop_map(
                |(
                    security,
                    (protocol, upgrade),
                    start,
                    length,
                    (from_start, tcp_handshake, close),
                    points,
                    tunnel,
                    (packets, bytes),
                )| {
                    let start = Timestamp::from_nanos(start * 1_000_000_000);
                    let end = |host: u8, port| Endpoint { ip: [10, 0, 0, host].into(), port };
                    Flow {
                        id: FlowId::of_opening(7, start),
                        start,
                        end: Timestamp::from_nanos(start.as_nanos() + length),
                        transport: Transport::Tcp,
                        client: end(1, 40_000),
                        server: end(2, 80),
                        tunnel,
                        seen_at: points.into_iter().map(str::to_owned).collect(),
                        security,
                        protocol,
                        upgrade,
                        from_start,
                        tcp_handshake,
                        close,
                        packets,
                        bytes,
                    }
                },
            )
    }

    fn word(flow: &Flow) -> Option<AuthWord> {
        match flow.security {
            Security::Tls(_, client) => Some(client.word()),
            Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => None,
        }
    }

    /// How strong the claim of a class is, mTLS being the strongest.
    fn claim(flow: &Flow) -> u8 {
        match flow.security.class() {
            Class::Unknown => 0,
            Class::Plaintext | Class::Opaque => 1,
            Class::Tls => 2,
            Class::Mtls => 3,
        }
    }

    #[test]
    fn flows_that_are_kept_apart_are_one_where_no_agent_named_both() {
        let at = |seconds: i64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let kept = |start: i64, end: i64, points: &[&str]| {
            let id = FlowId::of_opening(7, at(start));
            let seen_at = points.iter().map(|point| (*point).to_owned()).collect();
            Flow { id, start: at(start), end: at(end), seen_at, ..blank() }
        };
        for (first, second, one) in [
            (kept(1, 2, &["a/eth0"]), kept(3, 4, &["b"]), true),
            (kept(1, 2, &["a/eth0"]), kept(7, 8, &["b"]), false),
            (kept(1, 9, &["a/eth0"]), kept(3, 4, &["a/eth1"]), false),
            (kept(1, 3, &["a", "b"]), kept(3, 4, &["b"]), true),
            (kept(1, 2, &["a", "b"]), kept(3, 4, &["b"]), false),
        ] {
            assert_eq!(
                [same_kept(&first, &second), same_kept(&second, &first)],
                [one; 2],
                "{first:?} {second:?}"
            );
            assert!(same_kept(&first, &first));
            let elsewhere = Flow { server: Endpoint { port: 81, ..second.server }, ..second.clone() };
            assert!(!same_kept(&first, &elsewhere));
        }
    }

    fn blank() -> Flow {
        let end = |host: u8, port| Endpoint { ip: [10, 0, 0, host].into(), port };
        Flow {
            id: FlowId(0),
            start: Timestamp::from_nanos(0),
            end: Timestamp::from_nanos(0),
            transport: Transport::Tcp,
            client: end(1, 40_000),
            server: end(2, 80),
            tunnel: Vec::new(),
            seen_at: Vec::new(),
            security: Security::Plaintext(Evidence::WIRE),
            protocol: None,
            upgrade: None,
            from_start: true,
            tcp_handshake: None,
            close: Close::Fin,
            packets: PerSide::default(),
            bytes: PerSide::default(),
        }
    }

    proptest! {
        #[test]
        fn the_order_of_sightings_does_not_matter(one in flows(), other in flows()) {
            prop_assert_eq!(merge(&one, &other), merge(&other, &one));
        }

        #[test]
        fn a_sighting_again_changes_nothing(one in flows(), other in flows()) {
            let both = merge(&one, &other);
            prop_assert_eq!(merge(&one, &one), one.clone());
            prop_assert_eq!(&merge(&both, &one), &both);
            prop_assert_eq!(&merge(&both, &other), &both);
        }

        #[test]
        fn the_class_does_not_depend_on_who_comes_first(a in flows(), b in flows(), c in flows()) {
            let (left, right) = (merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
            prop_assert_eq!(left.security.class(), right.security.class());
            prop_assert_eq!(left.security.evidence().proof, right.security.evidence().proof);
            prop_assert_eq!((left.seen_at, left.packets, left.bytes, left.start, left.end), (right.seen_at, right.packets, right.bytes, right.start, right.end));
        }

        #[test]
        fn nothing_is_claimed_that_neither_claims(one in flows(), other in flows()) {
            let both = merge(&one, &other);
            prop_assert!(both.security.evidence().proof <= one.security.evidence().proof.max(other.security.evidence().proof));
            prop_assert!(claim(&both) <= claim(&one).max(claim(&other)));
            if both.security.class() == Class::Mtls {
                prop_assert!([&one, &other].iter().all(|flow| matches!(flow.security, Security::Unknown(_) | Security::Tls(_, ClientAuth::Proved(..) | ClientAuth::Hidden(_)))));
            }
            if [&one, &other].iter().any(|flow| word(flow) == Some(AuthWord::Rejected)) {
                prop_assert_ne!(word(&both), Some(AuthWord::Certificate), "a refusal is forgotten");
            }
            let parts = [(&one, &other), (&other, &one)];
            prop_assert!(parts.iter().all(|(part, _)| both.packets.client >= part.packets.client && both.end >= part.end && both.start <= part.start));
        }
    }

    fn sighting(nanos: i64, agent: &str) -> Flow {
        let start = Timestamp::from_nanos(nanos);
        let end = |host: u8, port| Endpoint { ip: [10, 0, 0, host].into(), port };
        Flow {
            id: FlowId::of_opening(7, start),
            start,
            end: Timestamp::from_nanos(nanos + 10),
            transport: Transport::Tcp,
            client: end(1, 40_000),
            server: end(2, 80),
            tunnel: Vec::new(),
            seen_at: vec![format!("{agent}/veth1")],
            security: Security::Plaintext(Evidence::WIRE),
            protocol: None,
            upgrade: None,
            from_start: true,
            tcp_handshake: Some(TcpHandshake(3)),
            close: Close::Fin,
            packets: PerSide::default(),
            bytes: PerSide::default(),
        }
    }

    #[test]
    fn the_same_opening_within_the_window_is_one_connection() {
        let known = sighting(1_000, "a");
        assert!(same(&known, &sighting(1_000 + WINDOW, "b"), "b"));
        assert!(!same(&known, &sighting(1_001 + WINDOW, "b"), "b"), "another time");
        let mut other = sighting(1_000, "b");
        other.server.port = 81;
        other.id = FlowId::of_opening(7, Timestamp::from_nanos(1_000 + 1));
        assert!(!same(&known, &other, "b"), "another server");
        let mut joined = sighting(2_000, "b");
        joined.id = FlowId(9);
        assert!(!same(&known, &joined, "b"), "no opening");
    }

    #[test]
    fn the_same_handshake_between_other_ends_is_a_translation() {
        let known = sighting(1_000, "a");
        let behind = |change: fn(&mut Flow)| {
            let mut flow = sighting(1_000 + WINDOW, "a");
            flow.server.ip = [10, 0, 0, 3].into();
            change(&mut flow);
            flow
        };
        assert!(translated(&known, &behind(|_| {})) && translated(&behind(|_| {}), &known));
        let whole: fn(&mut Flow) = |flow| (flow.client, flow.server.port) = (flow.server, 8080);
        assert!(translated(&known, &behind(whole)), "both ends");
        assert!(!translated(&known, &behind(|flow| flow.server.ip = [10, 0, 0, 2].into())), "the same ends");
        assert!(
            !translated(&known, &behind(|flow| flow.start = Timestamp::from_nanos(1_001 + WINDOW))),
            "later"
        );
        assert!(
            !translated(&known, &behind(|flow| flow.tcp_handshake = Some(TcpHandshake(4)))),
            "another one"
        );
        let blind: fn(&mut Flow) = |flow| flow.tcp_handshake = None;
        assert!(
            !translated(&known, &behind(blind))
                && !translated(&behind(blind), &behind(|flow| flow.tcp_handshake = None)),
            "unseen"
        );
    }

    #[test]
    fn an_agent_sees_one_connection_once() {
        let known = sighting(1_000, "a");
        assert!(!same(&known, &sighting(1_005, "a"), "a"), "it would have the same name");
        let both = merge(&known, &sighting(1_005, "b"));
        assert!(same(&both, &sighting(1_005, "b"), "b"), "its own report again");
        assert!(!same(&both, &sighting(1_030, "b"), "b"), "the next one");
    }

    #[test]
    fn an_agent_is_known_by_its_whole_name() {
        let mut flow = sighting(1, "node-10");
        assert!(seen_by(&flow, "node-10") && !seen_by(&flow, "node-1"));
        flow.seen_at.clear();
        place(&mut flow, "node-1");
        assert_eq!(flow.seen_at, ["node-1"]);
        assert!(seen_by(&flow, "node-1") && seen_by_none_but(&flow, "node-1"));
        flow.seen_at = vec!["lo".into()];
        place(&mut flow, "node-1");
        assert_eq!(flow.seen_at, ["node-1/lo"]);
        assert!(flow.is_local());
    }
}
