//! What mends the breaches of an edge, kept for its next flows: to write a patch takes longer than the rest of a judgement.

use std::sync::{PoisonError, RwLock};

use flow::{Close, Endpoint, Flow, FlowId, PerSide, Protocol, Security, Timestamp, Transport, Upgrade};

use super::{Advice, Breach, Case, Rule};

/// How many are kept of an edge. Most have one; one costs about 1 KiB.
const KEPT: usize = 3;

/// What was advised for flows of one edge.
#[derive(Debug, Default)]
pub(crate) struct Advised(RwLock<Vec<Known>>);

#[derive(Debug)]
struct Known {
    rule: &'static str,
    breach: Breach,
    seen: Seen,
    advice: Advice,
}

/// All that an advice may take from a flow beside its ends, which are the edge's.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    transport: Transport,
    security: Security,
    protocol: Option<Protocol>,
    upgrade: Option<Upgrade>,
}

impl Seen {
    fn is_of(&self, flow: &Flow) -> bool {
        (self.transport, self.protocol, self.upgrade) == (flow.transport, flow.protocol, flow.upgrade)
            && self.security == flow.security
    }

    /// A flow of which an advice learns nothing else.
    fn flow(&self, of: &Flow) -> Flow {
        Flow {
            id: FlowId(0),
            start: Timestamp::from_nanos(0),
            end: Timestamp::from_nanos(0),
            transport: self.transport,
            client: Endpoint { port: 0, ..of.client },
            server: of.server,
            tunnel: Vec::new(),
            seen_at: Vec::new(),
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
    /// Returns what mends a breach, as it was worked out for an earlier flow that showed the same.
    pub(super) fn of(&self, rule: &Rule, case: &Case<'_>, breach: &Breach) -> Advice {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |known: &&Known| known.rule == rule.id && known.breach == *breach && known.seen.is_of(case.flow);
        if let Some(known) = known.iter().find(is_it) {
            return known.advice.clone();
        }
        let full = known.len() >= KEPT;
        drop(known);
        if full {
            return (rule.advice)(case, breach);
        }
        let Flow { transport, security, protocol, upgrade, .. } = case.flow;
        let seen = Seen {
            transport: *transport,
            security: security.clone(),
            protocol: *protocol,
            upgrade: *upgrade,
        };
        let flow = seen.flow(case.flow);
        let advice = (rule.advice)(&Case { flow: &flow, since: None, ..*case }, breach);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been as fast: then it is there twice, and both say the same.
        if known.len() < KEPT {
            known.push(Known { rule: rule.id, breach: breach.clone(), seen, advice: advice.clone() });
        }
        advice
    }
}
