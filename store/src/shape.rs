//! A judged flow in two parts: what many flows share, kept once and named by its content, and what is the flow's own.
//!
//! Judging the same two workloads on the same port gives the same long answer every time, with only times, counts and
//! the client's port different. A flow's own part takes some hundred bytes, the shared one some thousands.

use std::hash::Hasher as _;

use analyzer::report::Judged;
use flow::{Close, FlowId, PerSide, Timestamp};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::error::StoreError;

/// What is a flow's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) id: FlowId,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) client_port: u16,
    pub(crate) close: Close,
    pub(crate) packets: PerSide,
    pub(crate) bytes: PerSide,
}

impl Own {
    /// Takes a flow's own part out of it; what is left is its shape.
    pub(crate) fn take(judged: &mut Judged) -> Self {
        let blank = Self {
            id: FlowId(0),
            start: Timestamp::from_nanos(0),
            end: Timestamp::from_nanos(0),
            client_port: 0,
            close: Close::Open,
            packets: PerSide::default(),
            bytes: PerSide::default(),
        };
        blank.swap(judged)
    }

    /// Makes a shape the flow that it was.
    pub(crate) fn give(self, shape: &mut Judged) {
        self.swap(shape);
    }

    fn swap(self, judged: &mut Judged) -> Self {
        let flow = &mut judged.flow;
        Self {
            id: std::mem::replace(&mut flow.id, self.id),
            start: std::mem::replace(&mut flow.start, self.start),
            end: std::mem::replace(&mut flow.end, self.end),
            client_port: std::mem::replace(&mut flow.client.port, self.client_port),
            close: std::mem::replace(&mut flow.close, self.close),
            packets: std::mem::replace(&mut flow.packets, self.packets),
            bytes: std::mem::replace(&mut flow.bytes, self.bytes),
        }
    }
}

/// Writes a shape into `text` (emptied first) and returns its name: a hash of 128 bits of what was written.
pub(crate) fn write(shape: &Judged, text: &mut Vec<u8>) -> Result<u128, StoreError> {
    text.clear();
    serde_json::to_writer(&mut *text, shape)?;
    let mut hasher = SipHasher13::new();
    hasher.write(text);
    Ok(hasher.finish128().as_u128())
}

/// Names the edge of a flow: flows that look the same between the same ends have the same one.
pub(crate) fn edge(shape: &Judged) -> Result<String, StoreError> {
    let (client, server, seen) = (&shape.client, &shape.server, &shape.flow);
    Ok(serde_json::to_string(&(
        (client.name(), client.kind),
        (server.name(), server.kind),
        (seen.transport, seen.server.port, seen.protocol),
        (seen.security.class(), seen.security.evidence().proof),
    ))?)
}

#[cfg(test)]
mod tests {
    use flow::Class;

    use super::*;
    use crate::sample::sample;

    #[test]
    fn flows_that_differ_in_their_own_part_alone_share_a_shape() {
        let (mut one, mut two) = (sample(1, 100, Class::Mtls, None), sample(2, 200, Class::Mtls, None));
        two.flow.client.port = 4;
        two.flow.close = Close::Reset;
        two.flow.bytes.server = 9;
        let whole = two.clone();
        let (_, own) = (Own::take(&mut one), Own::take(&mut two));
        let (mut left, mut right) = (Vec::new(), Vec::new());
        assert_eq!(write(&one, &mut left).unwrap(), write(&two, &mut right).unwrap());
        let mut back: Judged = serde_json::from_slice(&right).unwrap();
        own.give(&mut back);
        assert_eq!(back, whole);
    }

    #[test]
    fn flows_of_other_classes_do_not() {
        let (mut text, mut names) = (Vec::new(), Vec::new());
        for class in [Class::Mtls, Class::Tls, Class::Plaintext] {
            let mut judged = sample(1, 100, class, None);
            Own::take(&mut judged);
            names.push(write(&judged, &mut text).unwrap());
        }
        names.dedup();
        assert_eq!(names.len(), 3);
    }
}
