//! FTP AUTH TLS (RFC 4217 section 4), and the older AUTH SSL and AUTH TLS-C: granted by 234.

use flow::{Protocol, Upgrade};

use super::super::text::{code, mentions, verb};
use super::Known;
use super::dialogue::Dialogue;

pub(super) const KNOWN: Known = Known {
    protocol: Protocol::Ftp,
    upgrade: Upgrade::Ftp,
    turn: |opening, read| DIALOGUE.turn(opening, read),
};

const DIALOGUE: Dialogue = Dialogue {
    asks: |line| verb(line, &[b"AUTH"]) && (mentions(line, b" tls") || mentions(line, b" ssl")),
    grants: |line| code(line, b"234") || code(line, b"334"),
    commits: |line| verb(line, &[b"USER", b"PASS"]),
};
