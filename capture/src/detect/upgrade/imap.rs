//! IMAP STARTTLS (RFC 9051 section 6.2.1): a tagged command, granted by a tagged OK.

use flow::{Protocol, Upgrade};

use super::super::text::{verb, word};
use super::Known;
use super::dialogue::Dialogue;

pub(super) const KNOWN: Known = Known {
    protocol: Protocol::Imap,
    upgrade: Upgrade::Imap,
    turn: |opening, read| DIALOGUE.turn(opening, read),
};

const DIALOGUE: Dialogue = Dialogue {
    asks: |line| verb(word(line).1, &[b"STARTTLS"]),
    grants: |line| word(line).0 != b"*" && verb(word(line).1, &[b"OK"]),
    commits: |line| verb(word(line).1, &[b"LOGIN", b"AUTHENTICATE", b"SELECT", b"EXAMINE"]),
};
