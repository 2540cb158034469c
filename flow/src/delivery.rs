//! How flows travel from an agent to a collector: as lines of JSON, a [`Heading`] first, then one [`crate::Flow`] each.

use serde::{Deserialize, Serialize};

use crate::Coverage;

/// The version of the form that this program writes and reads.
pub const VERSION: u32 = 1;

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
    /// The version of the form: [`VERSION`].
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
