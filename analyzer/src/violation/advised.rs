//! The violations of an edge, kept for its next flows: their words and what mends them take longer than the rest of a judgement.

use std::sync::{Arc, PoisonError, RwLock};

use flow::{Close, Endpoint, Flow, FlowId, PerSide, Protocol, Security, Timestamp, Transport, Upgrade};

use super::{Breach, Case, Rule};
use crate::report::Violation;

/// How many are kept of an edge. Most have one; one costs about 1 KiB.
const KEPT: usize = 3;

/// What flows of one edge violated, and what was advised.
#[derive(Debug, Default)]
pub(crate) struct Advised(RwLock<Vec<Known>>);

#[derive(Debug)]
struct Known {
    rule: &'static str,
    breach: Breach,
    seen: Seen,
    violation: Arc<Violation>,
}

/// All that a violation may take from a flow beside its ends, which are the edge's.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    is_local: bool,
    transport: Transport,
    security: Security,
    protocol: Option<Protocol>,
    upgrade: Option<Upgrade>,
}

impl Seen {
    fn is_of(&self, flow: &Flow) -> bool {
        (self.transport, self.protocol, self.upgrade) == (flow.transport, flow.protocol, flow.upgrade)
            && self.security == flow.security
            && self.is_local == flow.is_local()
    }

    /// A flow of which nothing else is learned.
    fn flow(&self, of: &Flow) -> Flow {
        Flow {
            id: FlowId(0),
            start: Timestamp::from_nanos(0),
            end: Timestamp::from_nanos(0),
            transport: self.transport,
            client: Endpoint { port: 0, ..of.client },
            server: of.server,
            tunnel: Vec::new(),
            seen_at: if self.is_local { of.seen_at.clone() } else { Vec::new() },
            security: self.security.clone(),
            protocol: self.protocol,
            upgrade: self.upgrade,
            from_start: true,
            tcp_handshake: None,
            close: Close::Open,
            packets: PerSide::default(),
            bytes: PerSide::default(),
        }
    }
}

impl Advised {
    /// Returns the violation that a breach is, as it was worked out for an earlier flow that showed the same.
    pub(super) fn of(&self, rule: &Rule, case: &Case<'_>, breach: Breach) -> Arc<Violation> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |known: &&Known| known.rule == rule.id && known.breach == breach && known.seen.is_of(case.flow);
        if let Some(known) = known.iter().find(is_it) {
            return Arc::clone(&known.violation);
        }
        let full = known.len() >= KEPT;
        drop(known);
        if full {
            return Arc::new(rule.violation(case, breach));
        }
        let Flow { transport, security, protocol, upgrade, .. } = case.flow;
        let seen = Seen {
            is_local: case.flow.is_local(),
            transport: *transport,
            security: security.clone(),
            protocol: *protocol,
            upgrade: *upgrade,
        };
        let flow = seen.flow(case.flow);
        let violation = rule.violation(&Case { flow: &flow, since: None, ..*case }, breach.clone());
        let violation = Arc::new(violation);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been as fast: then it is there twice, and both say the same.
        if known.len() < KEPT {
            known.push(Known { rule: rule.id, breach, seen, violation: Arc::clone(&violation) });
        }
        violation
    }
}
