//! SMTP STARTTLS (RFC 3207): granted by 220. Mail or credentials before it went in the clear.

use flow::{Protocol, Upgrade};

use super::super::text::{code, verb};
use super::Known;
use super::dialogue::Dialogue;

pub(super) const KNOWN: Known = Known {
    protocol: Protocol::Smtp,
    upgrade: Upgrade::Smtp,
    turn: |opening, read| DIALOGUE.turn(opening, read),
};

const DIALOGUE: Dialogue = Dialogue {
    asks: |line| verb(line, &[b"STARTTLS"]),
    grants: |line| code(line, b"220"),
    commits: |line| verb(line, &[b"MAIL", b"AUTH"]),
};
