//! IRC STARTTLS (IRCv3 tls extension): granted by numeric 670.

use flow::{Protocol, Upgrade};

use super::super::text::{verb, word};
use super::Known;
use super::dialogue::Dialogue;

pub(super) const KNOWN: Known = Known {
    protocol: Protocol::Irc,
    upgrade: Upgrade::Irc,
    turn: |opening, read| DIALOGUE.turn(opening, read),
};

const DIALOGUE: Dialogue = Dialogue {
    asks: |line| verb(line, &[b"STARTTLS"]),
    grants: |line| verb(word(line).1, &[b"670"]),
    commits: |line| verb(line, &[b"PASS", b"USER", b"JOIN", b"PRIVMSG"]),
};
