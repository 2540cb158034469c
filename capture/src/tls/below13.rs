//! TLS 1.2 and below: certificates are in the clear, unless a session is resumed or renegotiated (RFC 5246 section 7).
//!
//! In comes what a handshake was read to say; out comes its [`Answer`]. TLS 1.3 and what both share is in
//! [`super::conclude`].

use flow::{ClientAuth, Evidence, Outcome, Presented, Proof, Reason, Withheld};

use super::conclude::{Answer, CERTIFICATE_TICKET, linked, lowered, sent, withheld};
use super::handshake::Handshake;
use super::{Ends, Sessions, sessions};

/// How much longer than in the clear a ClientKeyExchange may be under a key: its header, a block, a larger group.
const ROUNDING: u32 = 80;

impl Handshake {
    pub(super) fn cleartext_certificate(&self) -> Option<ClientAuth> {
        match self.client_certificates {
            Some(length) if length > 3 => Some(ClientAuth::Proved(Presented::Sent, Evidence::WIRE)),
            Some(_) => Some(ClientAuth::Refuted(Withheld::Declined, Evidence::WIRE)),
            // With part of the opening missing, that no Certificate was read is no plain reading.
            None if self.client_key_exchange && (self.answer.is_none() || self.client.snapped) => {
                let reason = if self.client.snapped { Reason::SnapLength } else { Reason::OneSided };
                Some(withheld(Withheld::Absent, Proof::Inferred, reason))
            }
            None if self.client_key_exchange => Some(ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE)),
            None => None,
        }
    }

    /// Whether a handshake below TLS 1.3 was abbreviated: the server changed cipher without the full handshake's
    /// messages.
    pub(super) fn resumed12(&self) -> Option<bool> {
        // Certificate, ServerKeyExchange, CertificateRequest or ServerHelloDone, whole or in part.
        let full = self.server_full || matches!(self.server.begun(), Some(11..=14));
        if full || self.nothing_to_resume() {
            Some(false)
        } else if self.server_ccs && !self.client_key_exchange {
            Some(true)
        } else {
            None
        }
    }

    /// Tells whether the ServerHello answers a hello that offers no session: neither a ticket, nor an id that comes
    /// back (RFC 5246 section 7.4.1.3).
    fn nothing_to_resume(&self) -> bool {
        let (Some(hello), Some(server)) = (&self.hello, &self.answer) else { return false };
        let offered = hello.ticket().is_some()
            || (!hello.session_id().is_empty() && hello.session_id() == server.session_id);
        hello.whole && !offered && !server.is_tls13()
    }

    /// TLS 1.2 and below: certificates are in the clear, unless the session is resumed or renegotiated.
    pub(super) fn below13(&self, ends: Ends, sessions: &Sessions) -> Answer {
        let resumed = self.resumed12();
        let outcome = if self.client_ccs && self.server_ccs {
            Outcome::Established
        } else {
            self.failed_or(Outcome::Incomplete)
        };
        if resumed == Some(true) {
            let client = self.original(ends, sessions);
            return Answer { client: self.renegotiated(client), outcome, resumed };
        }
        let Some(client) = self.cleartext_certificate() else {
            if outcome == Outcome::Failed
                && resumed == Some(false)
                && self.client.broken.is_none()
                && self.client_alert
            {
                // The client gave up on the server before its own flight.
                return Answer {
                    client: ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE),
                    outcome,
                    resumed,
                };
            }
            return Answer { resumed, ..Answer::hidden(self.blindness(), outcome) };
        };
        let client = match client {
            ClientAuth::Proved(_, evidence) if !self.server_ccs && self.refused12() => {
                ClientAuth::Proved(Presented::Rejected, evidence)
            }
            ClientAuth::Proved(..) | ClientAuth::Refuted(..) | ClientAuth::Hidden(_) => {
                self.renegotiated(client)
            }
        };
        Answer { client, outcome, resumed: resumed.or(Some(false)) }
    }

    /// Leaves behind what a later resumption needs: by which names the session goes that the handshake made, and what its client did
    /// then. What a renegotiation adds belongs to the session that it begins itself, whose names are under a key.
    pub(super) fn leave_below13(&self, answer: &Answer, ends: Ends, sessions: &mut Sessions) {
        let client = match answer.resumed {
            Some(true) => Some(self.original(ends, sessions)),
            Some(false) | None => self.cleartext_certificate(),
        };
        let Some(client) = client.filter(|client| !matches!(client, ClientAuth::Hidden(_))) else { return };
        if let Some(ticket) = self.issued {
            sessions.add_exact(ticket, client, ends.start);
        }
        if let (Some(false), Some(server)) = (answer.resumed, &self.answer)
            && !server.session_id.is_empty()
        {
            sessions.add_exact(sessions::name(&server.session_id), client, ends.start);
        }
    }

    /// Returns after how many of the client's records under a key no renegotiation begins: with HTTP/2 after those before the first
    /// payload (RFC 9113 section 9.2.1), with Envoy after none, for it has no renegotiation, and nobody else answers with Istio's
    /// protocol names. Absent where one may always come, or come yet.
    pub(super) fn last_renegotiation(&self) -> Option<usize> {
        let name = self.answer.as_ref()?.alpn.as_deref()?;
        match name {
            "h2" => self.client_records.iter().position(|record| record.kind == 23),
            _ => name.starts_with("istio").then_some(0),
        }
    }

    /// Answers where part of the client's stream is lost, which may have been a renegotiation with a certificate: the
    /// server's half of one is handshake records after its Finished, and where the server's stream is whole and has
    /// none, there was none.
    fn unless_renegotiated_unseen(&self, client: ClientAuth) -> ClientAuth {
        let (ClientAuth::Refuted(how, evidence), Some(reason)) = (client, self.client.broken) else {
            return client;
        };
        let handshakes = self.server_records.iter().filter(|record| record.kind == 22).count();
        if self.server.broken.is_some() || !self.server_ccs || handshakes > 1 {
            return ClientAuth::Hidden(reason);
        }
        withheld(
            how,
            if evidence.proof == Proof::Wire { lowered(evidence.proof) } else { evidence.proof },
            reason,
        )
    }

    /// Whether the server ended the handshake: with an alert in the clear, or by leaving in the middle of it.
    const fn refused12(&self) -> bool {
        let left = self.server.broken.is_none() && self.server.ended.is_some() && self.server.offset > 0;
        self.server_alert || left
    }

    /// What the session did that an abbreviated handshake resumes.
    fn original(&self, ends: Ends, sessions: &Sessions) -> ClientAuth {
        let Some(hello) = &self.hello else { return ClientAuth::Hidden(Reason::Resumed) };
        let named = |bytes: &[u8]| sessions.find_exact(sessions::name(bytes), ends.start);
        let by_ticket = hello.ticket().and_then(named);
        let echoed = self.answer.as_ref().is_some_and(|server| server.session_id == hello.session_id());
        let by_id = (echoed && !hello.session_id().is_empty()).then(|| named(hello.session_id())).flatten();
        if let Some(original) = by_ticket.or(by_id) {
            return linked(original);
        }
        match hello.ticket() {
            Some(ticket) if self.mesh() && ticket.len() >= CERTIFICATE_TICKET => {
                sent(Proof::Inferred, Reason::TicketSize)
            }
            Some(ticket) => self.small_ticket(ticket.len()),
            None => ClientAuth::Hidden(Reason::Resumed),
        }
    }

    /// A renegotiation keeps outer types: the handshake records between its encrypted ClientHello and the next
    /// ChangeCipherSpec are the client's second flight (RFC 5246 section 7.4).
    pub(super) fn renegotiated(&self, client: ClientAuth) -> ClientAuth {
        if matches!(client, ClientAuth::Proved(..)) {
            return client;
        }
        let mut answer = client;
        let last = self.last_renegotiation();
        let records =
            self.client_records.get(..last.unwrap_or(self.client_records.len())).unwrap_or_default();
        let mut rounds = records.split(|record| record.kind == 20).peekable();
        let before_finished = self.answer.as_ref().map_or(0, |hello| hello.before_finished);
        while let Some(round) = rounds.next() {
            let handshakes =
                round.iter().filter(|record| record.kind == 22).map(|record| u32::from(record.length));
            let lengths: Vec<u32> = handshakes.skip(before_finished).collect();
            if rounds.peek().is_none() {
                // No ChangeCipherSpec ends this one: whatever it is, it is no whole flight.
                if lengths.len() > 1 {
                    return ClientAuth::Hidden(self.client.broken.unwrap_or(Reason::Renegotiation));
                }
                break;
            }
            // The Finished of the handshake before, the hello, and the flight.
            let [finished, _hello, flight @ ..] = lengths.as_slice() else { continue };
            let overhead = finished.saturating_sub(16);
            // Block ciphers round lengths up. The exchange is as long as in the clear, unless another group was chosen.
            let exchange = self.key_exchange_length.saturating_add(overhead).saturating_add(ROUNDING);
            match *flight {
                [] => {}
                [only] if only <= exchange => {}
                // An empty Certificate of 7 bytes is shorter than a Finished of 16.
                [first, only] if first < *finished && only <= exchange => {
                    answer = withheld(Withheld::Declined, Proof::Inferred, Reason::Renegotiation);
                }
                // Some stacks put the whole flight into one record; and what begins with an empty list may go on in pieces.
                [_] | [_, _] => return ClientAuth::Hidden(Reason::Renegotiation),
                [first, _, _, ..] if first < *finished => return ClientAuth::Hidden(Reason::Renegotiation),
                [_, _, _, ..] => return sent(Proof::Inferred, Reason::Renegotiation),
            }
        }
        if last.is_some() { answer } else { self.unless_renegotiated_unseen(answer) }
    }
}
