//! How flows travel from an agent to a collector: as lines of JSON, a [`Heading`] first, then one for each flow.
//!
//! Connections differ in few things from others of the same services. What they share is said once in a delivery: the line of the
//! first of them is a whole [`Flow`], that of every other one names it and has the rest ([`Like`]). So what is said of TLS and of
//! capture points follows the number of services more than that of connections; yet each connection is there, under its own name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{Close, Coverage, Endpoint, Flow, FlowId, JsonWriter, PerSide, TcpHandshake, Timestamp};

/// The version of the form that this program writes. It reads the one before as well, in which every line was a whole flow.
pub const VERSION: u32 = 2;

/// The longest name of an agent or a run, in characters: that of a node (RFC 1123) fits.
pub const LONGEST_NAME: usize = 253;

/// Tells whether a text can name an agent or a run: printable ASCII without spaces. A slash would make one agent's
/// capture points look like another's.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// The first line of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// The version of the form: up to [`VERSION`].
    pub version: u32,
    /// The agent's name: its node's, if it was not told otherwise. One name, one spool.
    pub agent: String,
    /// Names one run of the agent: its coverage starts from nothing.
    pub run: String,
    /// The delivery's number in the agent's spool, rising from 1.
    pub sequence: u64,
    /// How many flows follow.
    pub flows: u64,
    /// All that the run has covered so far, not what is new: a later delivery replaces it.
    pub coverage: Coverage,
    /// Reports of flows that were never delivered since the spool exists, because it was full or damaged, or the
    /// collector refused them for good.
    pub undelivered: u64,
}

impl Heading {
    /// Names the run as a source of its own among all agents' runs.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{} {}", self.agent, self.run)
    }

    /// Names what accounts for the losses of the agent's spool, over all its runs.
    #[must_use]
    pub fn spool(&self) -> String {
        format!("{} spool", self.agent)
    }
}

/// What the line of a flow begins with that is like an earlier one.
pub const LIKE: &str = "{\"like\":";

/// A flow by what it does not share with an earlier one of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Like {
    /// Which flow of the delivery it is like, counted from 0. That one is whole.
    pub like: usize,
    id: FlowId,
    start: Timestamp,
    end: Timestamp,
    client: Endpoint,
    server: Endpoint,
    tcp_handshake: Option<TcpHandshake>,
    close: Close,
    packets: PerSide,
    bytes: PerSide,
}

impl Like {
    /// Returns the flow, given the one that it is like.
    #[must_use]
    pub fn flow(self, like: &Flow) -> Flow {
        let Self { like: _, id, start, end, client, server, tcp_handshake, close, packets, bytes } = self;
        Flow { id, start, end, client, server, tcp_handshake, close, packets, bytes, ..like.clone() }
    }
}

/// Writes the lines of a delivery.
#[derive(Debug, Default)]
pub struct Lines {
    writer: JsonWriter,
    text: Vec<u8>,
    flows: usize,
    /// The flows that are there whole, without what is their own: which they are, and how long their lines.
    whole: HashMap<Flow, (usize, usize)>,
    weight: usize,
}

impl Lines {
    /// Appends a flow.
    pub fn add(&mut self, flow: &Flow) {
        let before = self.text.len();
        let length = match self.whole.entry(shared(flow)) {
            Entry::Occupied(found) => {
                let (like, length) = *found.get();
                flow.write_like(like, &mut self.text);
                length
            }
            Entry::Vacant(place) => {
                self.writer.write(flow, &mut self.text);
                let length = self.text.len().saturating_sub(before);
                place.insert((self.flows, length));
                length
            }
        };
        self.text.push(b'\n');
        self.flows = self.flows.saturating_add(1);
        self.weight = self.weight.saturating_add(length);
    }

    /// Returns the lines.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns how many flows there are.
    #[must_use]
    pub const fn flows(&self) -> usize {
        self.flows
    }

    /// Returns how long the lines would be, in bytes, if each flow were whole: what bounds the memory of who reads them.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Begins the next delivery.
    pub fn clear(&mut self) {
        self.text.clear();
        self.whole.clear();
        (self.flows, self.weight) = (0, 0);
    }
}

/// Returns the flow without what is its own.
fn shared(flow: &Flow) -> Flow {
    let time = Timestamp::from_nanos(0);
    let nowhere = Endpoint { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
    Flow {
        id: FlowId(0),
        start: time,
        end: time,
        client: nowhere,
        server: nowhere,
        tcp_handshake: None,
        close: Close::Open,
        packets: PerSide::default(),
        bytes: PerSide::default(),
        ..flow.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_has_no_slash() {
        for name in ["node-10.example.org", "a", &"n".repeat(LONGEST_NAME)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a/veth1", "two words", "n\u{f6}de", "line\nfeed", &"n".repeat(LONGEST_NAME + 1)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
