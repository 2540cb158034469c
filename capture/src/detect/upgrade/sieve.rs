//! ManageSieve STARTTLS (RFC 5804 section 2.2): granted by OK.

use flow::{Protocol, Upgrade};

use super::super::text::verb;
use super::Known;
use super::dialogue::Dialogue;

pub(super) const KNOWN: Known = Known {
    protocol: Protocol::Sieve,
    upgrade: Upgrade::Sieve,
    turn: |opening, read| DIALOGUE.turn(opening, read),
};

const DIALOGUE: Dialogue = Dialogue {
    asks: |line| verb(line, &[b"STARTTLS"]),
    grants: |line| verb(line, &[b"OK"]),
    commits: |line| verb(line, &[b"AUTHENTICATE", b"PUTSCRIPT", b"GETSCRIPT"]),
};
