//! POP3 STLS (RFC 2595 section 4): granted by +OK.

use flow::{Protocol, Upgrade};

use super::super::text::verb;
use super::Known;
use super::dialogue::Dialogue;

pub(super) const KNOWN: Known = Known {
    protocol: Protocol::Pop3,
    upgrade: Upgrade::Pop3,
    turn: |opening, read| DIALOGUE.turn(opening, read),
};

const DIALOGUE: Dialogue = Dialogue {
    asks: |line| verb(line, &[b"STLS"]),
    grants: |line| line.starts_with(b"+OK"),
    commits: |line| verb(line, &[b"USER", b"PASS", b"APOP", b"AUTH"]),
};
