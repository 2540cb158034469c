//! Upgrades of line-based protocols: the client asks in a line, the server answers in one, TLS follows both.

use super::super::{Opening, text};
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
    /// Reads how far the upgrade came.
    ///
    /// The client decides: after it asked, it says hello (it was granted) or goes on in text (it was refused). The
    /// server's stream is then cut behind the granting line that TLS, or nothing, follows.
    pub(super) fn turn(&self, opening: &Opening<'_>) -> Turn {
        if tls::client_hello(opening.client) == Probe::Yes {
            // The line that asked was not captured.
            return self.granted(opening, 0);
        }
        let mut refused = false;
        for (line, end) in text::lines(opening.client) {
            if (self.asks)(line) {
                match tls::client_hello(opening.client.get(end..).unwrap_or(&[])) {
                    Probe::Yes => return self.granted(opening, end),
                    Probe::More => return Turn::Asked,
                    Probe::No => refused = true,
                }
            } else if refused {
                return Turn::Refused;
            } else if (self.commits)(line) {
                return Turn::Past;
            }
        }
        if refused && opening.ended { Turn::Refused } else { Turn::Possible }
    }

    fn granted(&self, opening: &Opening<'_>, client: usize) -> Turn {
        let answered = |end: usize| {
            let rest = opening.server.get(end..).unwrap_or(&[]);
            rest.is_empty() || tls::server_answer(rest) != Probe::No
        };
        let server = text::lines(opening.server)
            .filter(|&(line, end)| (self.grants)(line) && answered(end))
            .map(|(_, end)| end)
            .last();
        match server {
            Some(server) => Turn::Begun { client, server },
            // The server's half was not captured, or not its answer.
            None if opening.ended => Turn::Begun { client, server: opening.server.len() },
            None => Turn::Possible,
        }
    }
}
