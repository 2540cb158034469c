//! NNTP STARTTLS (RFC 4642 section 2.2): granted by 382.

use flow::{Protocol, Upgrade};

use super::super::text::{code, verb};
use super::Known;
use super::dialogue::Dialogue;

pub(super) const KNOWN: Known = Known {
    protocol: Protocol::Nntp,
    upgrade: Upgrade::Nntp,
    turn: |opening, read| DIALOGUE.turn(opening, read),
};

const DIALOGUE: Dialogue = Dialogue {
    asks: |line| verb(line, &[b"STARTTLS"]),
    grants: |line| code(line, b"382"),
    commits: |line| verb(line, &[b"AUTHINFO", b"GROUP", b"ARTICLE", b"POST"]),
};
