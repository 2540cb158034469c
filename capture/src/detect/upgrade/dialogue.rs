//! Upgrades of line-based protocols: the client asks in a line, the server answers in one, TLS follows both.

use super::super::progress::Stage;
use super::super::{Opening, Read, text};
use super::Turn;
use crate::tls::{self, Probe};

/// The lines that matter to an upgrade.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialogue {
    /// The client's line that asks for TLS.
    pub(super) asks: fn(&[u8]) -> bool,
    /// The server's line that grants it.
    pub(super) grants: fn(&[u8]) -> bool,
    /// The client's line after which TLS would protect nothing: credentials or data went in the clear.
    pub(super) commits: fn(&[u8]) -> bool,
}

impl Dialogue {
    /// Reads how far the upgrade came: each line once.
    ///
    /// The client decides: after it asked, it says hello (it was granted) or goes on in text (it was refused). The
    /// server's stream is then cut behind the granting line that TLS, or nothing, follows.
    pub(super) fn turn(&self, opening: &Opening<'_>, read: &mut Read) -> Turn {
        if tls::client_hello(opening.client) == Probe::Yes {
            // The line that asked was not captured.
            return self.granted(opening, 0, read);
        }
        loop {
            let rest = opening.client.get(read.client..).unwrap_or(&[]);
            if read.stage == Stage::Asked {
                match tls::client_hello(rest) {
                    Probe::Yes => return self.granted(opening, read.client, read),
                    Probe::More => return Turn::Asked,
                    Probe::No => read.stage = Stage::Refused,
                }
            }
            let Some((line, length)) = text::lines(rest).next() else { break };
            if (self.asks)(line) {
                read.stage = Stage::Asked;
            } else if read.stage == Stage::Refused {
                return Turn::Refused;
            } else if (self.commits)(line) {
                return Turn::Past;
            }
            read.client = read.client.saturating_add(length);
        }
        if read.stage == Stage::Refused && opening.ended { Turn::Refused } else { Turn::Possible }
    }

    fn granted(&self, opening: &Opening<'_>, client: usize, read: &mut Read) -> Turn {
        let answered = |end: usize| {
            let rest = opening.server.get(end..).unwrap_or(&[]);
            rest.is_empty() || tls::server_answer(rest) != Probe::No
        };
        let from = read.server;
        let mut server = None;
        for (line, length) in text::lines(opening.server.get(from..).unwrap_or(&[])) {
            let end = from.saturating_add(length);
            if (self.grants)(line) && answered(end) {
                server = Some(end);
            }
            read.server = end;
        }
        match server {
            Some(server) => Turn::Begun { client, server },
            // The server's half was not captured, or not its answer.
            None if opening.ended => Turn::Begun { client, server: opening.server.len() },
            None => Turn::Possible,
        }
    }
}
