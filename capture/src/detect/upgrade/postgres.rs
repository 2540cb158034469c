//! PostgreSQL SSLRequest (protocol section "SSL Session Encryption"), perhaps after a GSSENCRequest: one byte answers.

use flow::{Protocol, Upgrade};

use super::super::cursor::Cursor;
use super::super::postgres::{GSS_REQUEST, SSL_REQUEST};
use super::super::{Opening, Read};
use super::{Known, Turn, begun};
use crate::tls::{self, Probe};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Postgres, upgrade: Upgrade::Postgres, turn };

/// Length of both requests.
const REQUEST: usize = 8;
/// GSSENCRequest, SSLRequest, and once more.
const REQUESTS: usize = 4;

fn turn(opening: &Opening<'_>, _: &mut Read) -> Turn {
    if opening.server_only() {
        let rest = opening.server.get(1..).unwrap_or(&[]);
        let accepted = opening.server.first() == Some(&b'S') && tls::server_answer(rest) == Probe::Yes;
        return if accepted { Turn::Begun { client: 0, server: 1 } } else { Turn::Past };
    }
    let mut refused = false;
    let settled = |refused: bool| if refused { Turn::Refused } else { Turn::Past };
    for at in 0..REQUESTS {
        let offset = at.saturating_mul(REQUEST);
        let rest = opening.client.get(offset..).unwrap_or(&[]);
        if at > 0 && tls::client_hello(rest) == Probe::Yes {
            return Turn::Begun { client: offset, server: at };
        }
        let mut request = Cursor::new(rest);
        let code = match (request.be32(), request.be32()) {
            (Some(8), Some(code)) => code,
            // After a refusal the client goes on in the clear, or leaves.
            (Some(_), Some(_)) => return settled(refused),
            // After one that said nothing of TLS the next may have asked for it, and not been captured.
            _ if opening.ended && (refused || at == 0) => return settled(refused),
            _ => return Turn::Possible,
        };
        let after = offset.saturating_add(REQUEST);
        match (code, opening.server.get(at)) {
            (SSL_REQUEST, Some(b'S')) => return begun(opening, after, at.saturating_add(1)),
            (GSS_REQUEST, Some(b'G')) => return Turn::Foreign,
            // `E` begins the error message of a server that does not know the request.
            (SSL_REQUEST, Some(b'N' | b'E')) => refused = true,
            (GSS_REQUEST, Some(b'N' | b'E')) => {}
            // No answer that there is: the one byte was not captured, and TLS may follow it.
            (SSL_REQUEST | GSS_REQUEST, Some(_)) => {
                return match tls::client_hello(opening.client.get(after..).unwrap_or(&[])) {
                    Probe::Yes => Turn::Begun { client: after, server: at },
                    Probe::More | Probe::No => Turn::Possible,
                };
            }
            (SSL_REQUEST, None) if opening.server.is_empty() && opening.ended => {
                // Only the client's side was captured: what it sends next tells the answer.
                return match tls::client_hello(opening.client.get(after..).unwrap_or(&[])) {
                    Probe::Yes => Turn::Begun { client: after, server: 0 },
                    Probe::No => Turn::Refused,
                    // The capture ends before the answer could show.
                    Probe::More => Turn::Possible,
                };
            }
            (SSL_REQUEST | GSS_REQUEST, None) => return Turn::Possible,
            _ => return settled(refused),
        }
    }
    settled(refused)
}
