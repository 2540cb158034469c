//! What one connection's opening comes to: its visible facts and the mTLS answer.

use flow::{ClientAuth, Evidence, Outcome, Presented, Proof, Reason, TlsSession, Withheld};

use super::client_auth::{self, Arithmetic, Reading};
use super::flight::RecordLengths;
use super::handshake::{Handshake, MAX_RECORDS};
use super::hello::{ClientHello, TLS13, extension};
use super::ja4::Carrier;
use super::known::Shown;
use super::sessions::Tickets;
use super::suites::Lengths;
use super::{Conclusion, Ends, Memory, Sessions, suites};

/// Smallest PSK identity or ticket that holds a client's certificate on known stacks.
pub(super) const CERTIFICATE_TICKET: usize = 500;
/// Below this an identity is no ticket but an external key's name.
const SMALLEST_TICKET: usize = 32;
/// Largest ticket without a client certificate that Envoy issues.
const SMALL_TICKET: usize = 260;
/// How many client records after the handshake are watched for an authentication that comes late.
const LATE_WATCH: usize = 32;
/// How many client records show whether the first one is padded to blocks.
pub(super) const DECIDED: usize = 6;

/// The answer so far, with how far the handshake came.
pub(super) struct Answer {
    pub(super) client: ClientAuth,
    pub(super) outcome: Outcome,
    pub(super) resumed: Option<bool>,
}

impl Answer {
    pub(super) const fn hidden(reason: Reason, outcome: Outcome) -> Self {
        Self { client: ClientAuth::Hidden(reason), outcome, resumed: None }
    }
}

pub(super) const fn sent(proof: Proof, reason: Reason) -> ClientAuth {
    ClientAuth::Proved(Presented::Sent, evidence(proof, reason))
}

pub(super) const fn withheld(how: Withheld, proof: Proof, reason: Reason) -> ClientAuth {
    ClientAuth::Refuted(how, evidence(proof, reason))
}

/// An exact reading rests on nothing but itself; anything weaker names what it rests on.
const fn evidence(proof: Proof, reason: Reason) -> Evidence {
    match proof {
        Proof::Wire | Proof::Exact => Evidence { proof, reason: None },
        Proof::None | Proof::Inferred | Proof::Linked | Proof::Strong => Evidence::because(proof, reason),
    }
}

pub(super) const fn lowered(proof: Proof) -> Proof {
    match proof {
        Proof::Wire | Proof::Exact => Proof::Strong,
        Proof::Strong | Proof::Linked | Proof::Inferred | Proof::None => Proof::Inferred,
    }
}

/// Says beside an answer that nothing is encrypted, where it does not say something else.
fn in_plaintext(client: ClientAuth) -> ClientAuth {
    let noted = |Evidence { proof, reason }| Evidence { proof, reason: reason.or(Some(Reason::NullCipher)) };
    match client {
        ClientAuth::Proved(how, evidence) => ClientAuth::Proved(how, noted(evidence)),
        ClientAuth::Refuted(how, evidence) => ClientAuth::Refuted(how, noted(evidence)),
        ClientAuth::Hidden(_) => client,
    }
}

impl Handshake {
    /// Concludes from what was read so far. Never stronger than a conclusion from more bytes of the same connection, save where
    /// only those show that all records are padded alike.
    pub(crate) fn conclude(&self, ends: Ends, memory: &mut Memory) -> Conclusion {
        self.conclusion(&self.answer_question(ends, &memory.sessions), ends, memory)
    }

    /// Concludes, and leaves behind what a later resumption needs. Called once, when the connection settles or ends.
    pub(crate) fn settle(&self, ends: Ends, memory: &mut Memory) -> Conclusion {
        let answer = self.answer_question(ends, &memory.sessions);
        let conclusion = self.conclusion(&answer, ends, memory);
        self.leave(&answer, ends, &mut memory.sessions);
        conclusion
    }

    fn conclusion(&self, answer: &Answer, ends: Ends, memory: &mut Memory) -> Conclusion {
        let session = memory.known.session(Shown {
            hellos: self.hello.as_ref().map(|hello| (self.first_hello.as_deref().unwrap_or(hello), hello)),
            carrier: if self.datagram { Carrier::Dtls } else { Carrier::Tcp },
            version: match &self.answer {
                Some(server) => Some(server.version),
                None => self.shows_full13().then_some(TLS13),
            },
            answer: self.answer.as_ref(),
            group: self.server_group,
            client_certificate: self.client_certificate.as_ref(),
            server_certificate: self.server_certificate.as_ref(),
            outcome: answer.outcome,
            resumed: answer.resumed,
            early_data: self.early_data,
            hello_retry: self.retry,
        });
        let client = match self.contradicted(answer.client, &session) {
            // A gateway that passes the session on repeats the hello: another hop may have shown what this one hides.
            ClientAuth::Hidden(reason) => {
                self.other_hop(ends, &memory.sessions).unwrap_or(ClientAuth::Hidden(reason))
            }
            known @ (ClientAuth::Proved(..) | ClientAuth::Refuted(..)) => known,
        };
        let client = if session.encrypts_nothing() { in_plaintext(client) } else { client };
        Conclusion { session, client }
    }

    /// What another connection with the same hello, random and all, came to: the same session on its way through a
    /// gateway (Istio's `AUTO_PASSTHROUGH`) or an address translation.
    fn other_hop(&self, ends: Ends, sessions: &Sessions) -> Option<ClientAuth> {
        let seen = sessions.find_hop(self.hello.as_ref()?.name()?, ends.start)?;
        Some(match seen {
            // The very session, so also what became of the certificate.
            ClientAuth::Proved(how, evidence) => ClientAuth::Proved(how, evidence_of_link(evidence.proof)),
            ClientAuth::Refuted(..) | ClientAuth::Hidden(_) => linked(seen),
        })
    }

    /// Istio's ALPN says that the client meant to authenticate; a full handshake without a certificate says that the
    /// server did not ask. The weaker claim stands, and says that there is a conflict.
    fn contradicted(&self, client: ClientAuth, session: &TlsSession) -> ClientAuth {
        match client {
            ClientAuth::Refuted(Withheld::Absent, evidence)
                if session.resumed == Some(false)
                    && session.outcome == Outcome::Established
                    && evidence.proof >= Proof::Strong
                    && session.offers_istio_alpn() =>
            {
                withheld(Withheld::Absent, Proof::Strong, Reason::Conflict)
            }
            ClientAuth::Refuted(..) | ClientAuth::Proved(..) | ClientAuth::Hidden(_) => client,
        }
    }

    /// Leaves behind what a later resumption needs. Called once, when the connection settles or ends.
    pub(crate) fn remember(&self, ends: Ends, sessions: &mut Sessions) {
        self.leave(&self.answer_question(ends, sessions), ends, sessions);
    }

    fn leave(&self, answer: &Answer, ends: Ends, sessions: &mut Sessions) {
        let (Some(hello), Some(server)) = (&self.hello, &self.answer) else { return };
        if !matches!(answer.client, ClientAuth::Hidden(_))
            && let Some(name) = hello.name()
        {
            sessions.add_hop(name, answer.client, ends.start);
        }
        if answer.outcome == Outcome::Failed {
            return;
        }
        if server.is_tls13() {
            let tag = suites::lengths(server.suite).map_or(16, |suite| suite.tag);
            let overhead = u16::try_from(tag).unwrap_or(u16::MAX).saturating_add(1);
            let mut tickets = Tickets::default();
            for (ticket, record) in tickets.iter_mut().zip(self.reaction()) {
                *ticket = record.length.saturating_sub(overhead);
            }
            let full = answer.resumed == Some(false) && answer.outcome == Outcome::Established;
            let telling = full && hello.identities().next().is_none();
            // The tickets before a late authentication hold no certificate, those after it do: which is resumed nobody knows.
            let client = match answer.client {
                ClientAuth::Proved(_, Evidence { reason: Some(reason @ Reason::PostHandshake), .. }) => {
                    ClientAuth::Hidden(reason)
                }
                client @ (ClientAuth::Proved(..) | ClientAuth::Refuted(..) | ClientAuth::Hidden(_)) => client,
            };
            sessions.add(ends, hello.server_name(), client, tickets, telling);
        } else {
            self.leave_below13(answer, ends, sessions);
        }
    }

    /// Tells whether no further byte can change the conclusion, so that the connection need not be fed any more.
    pub(crate) fn settled(&mut self) -> bool {
        if std::mem::take(&mut self.fresh) {
            self.settled |= self.is_settled();
        }
        self.settled
    }

    /// Tells whether a connection that is silent for now may be settled: in TLS 1.3, once the client's flight tells all
    /// and the server has gone on after it, what may still come is payload, unless the client can authenticate later.
    pub(crate) fn may_rest(&self) -> bool {
        let Some(server) = &self.answer else { return false };
        if !server.is_tls13() {
            return self.client_ccs && self.server_ccs && self.last_renegotiation().is_some();
        }
        let Some(suite) = suites::lengths(server.suite) else { return false };
        let accepted = server.selected_identity.is_some();
        let Some(start) = self.flight_start(accepted, suite) else { return false };
        let flight = self.client_records.get(start..).unwrap_or_default();
        // An alert would be a refusal.
        let size = Arithmetic::of(suite);
        let went_on = self.reaction().any(|record| !size.is_alert(u32::from(record.length)));
        let lengths = RecordLengths::of(flight);
        went_on
            && !self.may_authenticate_late
            && (accepted
                || match client_auth::read(suite, &lengths, false) {
                    Reading::Absent(_) | Reading::Declined { .. } | Reading::Certificate { .. } => true,
                    Reading::Aborted | Reading::More | Reading::Padded | Reading::Shapeless => false,
                })
    }

    fn is_settled(&self) -> bool {
        let stuck = |broken: Option<Reason>| broken.is_some();
        if (stuck(self.client.broken) && stuck(self.server.broken)) || self.ended_both() {
            return true;
        }
        let Some(server) = &self.answer else { return false };
        if server.version == 2 {
            return true;
        }
        if self.client_records.len() >= MAX_RECORDS {
            return true;
        }
        if server.is_tls13() {
            let Some(suite) = suites::lengths(server.suite) else { return true };
            let silent = stuck(self.server.broken);
            if self.client_records.is_empty() {
                return false;
            }
            let accepted = server.selected_identity.is_some();
            let Some(start) = self.flight_start(accepted, suite) else { return false };
            let flight = self.client_records.get(start..).unwrap_or_default();
            let late = !self.may_authenticate_late || flight.len() >= LATE_WATCH || stuck(self.client.broken);
            if !late || flight.is_empty() || !(silent || self.tickets_over(flight, suite)) {
                return false;
            }
            let lengths = RecordLengths::of(flight);
            return accepted
                || match client_auth::read(suite, &lengths, false) {
                    Reading::Absent(_) | Reading::Declined { .. } => true,
                    // Refused early data may look like it.
                    Reading::Certificate { proof: Proof::Strong, .. } if !self.may_send_early => {
                        client_auth::stays_a_certificate(suite, &lengths)
                    }
                    Reading::Certificate { proof, .. } => proof == Proof::Exact || lengths.len() >= DECIDED,
                    Reading::Aborted | Reading::More | Reading::Padded | Reading::Shapeless => false,
                };
        }
        let finished = self.client_ccs && (self.server_ccs || stuck(self.server.broken));
        let certificate = self.client_certificates.is_some_and(|length| length > 3);
        // Where the client's records cannot be followed any more, the server's show whether it renegotiates.
        let watched = stuck(self.client.broken)
            && (stuck(self.server.broken) || self.server_records.len() >= LATE_WATCH);
        finished
            && (certificate
                || self.client_records.len() >= LATE_WATCH
                || watched
                || self.last_renegotiation().is_some())
    }

    /// Whether the hello offers an extension, or is missing or was cut so that it may.
    pub(super) fn may_offer(&self, kind: u16) -> bool {
        self.hello.as_ref().is_none_or(|hello| hello.may_offer(kind))
    }

    /// What hides the answer, when the messages that carry it were not read.
    pub(super) fn blindness(&self) -> Reason {
        if self.client.snapped || self.server.snapped {
            return Reason::SnapLength;
        }
        if let Some(reason) = self.client.broken.or(self.server.broken) {
            return reason;
        }
        if self.client_records.len() >= MAX_RECORDS {
            return Reason::Bound;
        }
        if self.client.offset == 0 || self.server.offset == 0 { Reason::OneSided } else { Reason::Incomplete }
    }

    fn answer_question(&self, ends: Ends, sessions: &Sessions) -> Answer {
        if self.hello.is_none() {
            if let Some(answer) = self.without_hello() {
                return answer;
            }
            let reason = if self.client.offset == 0 && self.answer.is_some() {
                Reason::OneSided
            } else {
                self.follows_answer.unwrap_or_else(|| self.blindness())
            };
            let reason = if reason == Reason::Incomplete { Reason::MidStream } else { reason };
            let mut answer = Answer::hidden(reason, self.failed_or(Outcome::Incomplete));
            answer.resumed = match &self.answer {
                Some(server) if server.is_tls13() => Some(server.selected_identity.is_some()),
                Some(_) | None => self.resumed12(),
            };
            return answer;
        }
        match &self.answer {
            None => self.unanswered(),
            Some(server) if server.version == 2 => Answer::hidden(Reason::FlightShape, Outcome::Incomplete),
            Some(server) if server.is_tls13() => match suites::lengths(server.suite) {
                Some(suite) => match server.selected_identity {
                    Some(index) => self.resumption(usize::from(index), suite, ends, sessions),
                    None => self.flight(suite),
                },
                None => Answer {
                    resumed: Some(server.selected_identity.is_some()),
                    ..Answer::hidden(Reason::FlightShape, self.failed_or(Outcome::Incomplete))
                },
            },
            Some(_) => self.below13(ends, sessions),
        }
    }

    /// A full TLS 1.3 handshake whose hello was not captured: the server's says that nothing is resumed, and the client's flight is
    /// there whole. Whatever the hello may have offered is allowed for.
    fn without_hello(&self) -> Option<Answer> {
        let because = self.follows_answer?;
        let server = self.answer.as_ref()?;
        if !server.is_tls13() || server.selected_identity.is_some() {
            return None;
        }
        let answer = self.flight(suites::lengths(server.suite)?);
        let client = match answer.client {
            ClientAuth::Proved(how, Evidence { proof, .. }) => {
                ClientAuth::Proved(how, evidence(lowered(proof), because))
            }
            ClientAuth::Refuted(how, Evidence { proof, .. }) => withheld(how, lowered(proof), because),
            ClientAuth::Hidden(_) => return None,
        };
        Some(Answer { client, ..answer })
    }

    /// A hello without a ServerHello: refused, or only one side was captured.
    fn unanswered(&self) -> Answer {
        let only_hello = self.client_records.is_empty()
            && !self.client_key_exchange
            && !self.client_ccs
            && self.client_certificates.is_none();
        let whole = self.client.broken.is_none() && self.server.broken.is_none();
        // A server that speaks no TLS answers in its own protocol, and the client leaves.
        let answered_otherwise = self.client.broken.is_none()
            && self.client.ended.is_some()
            && self.server.broken == Some(Reason::FlightShape);
        let turned_down = self.server_alert || (self.server.offset == 0 && self.server.ended.is_some());
        if only_hello && (answered_otherwise || (whole && turned_down)) {
            return Answer {
                client: withheld(Withheld::Absent, Proof::Strong, Reason::Refused),
                outcome: Outcome::Failed,
                resumed: None,
            };
        }
        if let Some(client) = self.cleartext_certificate() {
            let client = self.renegotiated(client);
            return Answer { client, outcome: self.failed_or(Outcome::Incomplete), resumed: Some(false) };
        }
        if self.client_records.is_empty() {
            let reason =
                if whole && only_hello && self.ended_either() { Reason::Refused } else { self.blindness() };
            return Answer::hidden(reason, self.failed_or(Outcome::Incomplete));
        }
        if !self.shows_full13() {
            return Answer::hidden(self.blindness(), Outcome::Incomplete);
        }
        let lengths = RecordLengths::of(&self.client_records);
        let reason = Reason::OneSided;
        let client = match client_auth::read_one_sided(&lengths) {
            Reading::Absent(proof) => withheld(Withheld::Absent, proof, reason),
            Reading::Declined { proof, .. } => withheld(Withheld::Declined, proof, reason),
            Reading::Certificate { .. } if self.may_be_padded(client_auth::USUAL, &lengths) => {
                ClientAuth::Hidden(Reason::Padding)
            }
            Reading::Certificate { .. } if self.without_authentication(client_auth::USUAL, &lengths) => {
                ClientAuth::Hidden(Reason::FlightShape)
            }
            Reading::Certificate { proof, .. } => sent(proof, reason),
            Reading::Aborted | Reading::More | Reading::Padded | Reading::Shapeless => {
                ClientAuth::Hidden(self.blindness())
            }
        };
        Answer { client, outcome: Outcome::Incomplete, resumed: Some(false) }
    }

    /// Tells whether the client's side alone shows a full handshake of TLS 1.3: its hello offers that and no earlier session, and
    /// records of payload follow it at once. Below TLS 1.3 a key exchange would come first, or at a resumption the Finished message,
    /// in a handshake record (RFC 5246 section 7.3).
    fn shows_full13(&self) -> bool {
        let offered = self.hello.as_ref().is_some_and(|hello| {
            hello.whole
                && hello.offers_tls13()
                && hello.identities().next().is_none()
                && !hello.offers(extension::EARLY_DATA)
                && !hello.offers(extension::POST_HANDSHAKE_AUTH)
        });
        let below13 = self.client_key_exchange || self.client_sealed || self.client.is_amid_message();
        offered && !below13 && !self.client.protected && !self.client_records.is_empty()
    }

    /// A TLS 1.3 resumption: certificates cannot occur; what the original session did counts (RFC 8446 section 4.3.2).
    fn resumption(&self, index: usize, suite: Lengths, ends: Ends, sessions: &Sessions) -> Answer {
        let hello = self.hello.as_ref();
        let identity = hello.and_then(|hello| hello.identities().nth(index));
        let sni = hello.and_then(ClientHello::server_name);
        let finished = self.flight_start(true, suite).is_some();
        let outcome = if finished { Outcome::Established } else { self.failed_or(Outcome::Incomplete) };
        let answer = |client| Answer { client, outcome, resumed: Some(true) };
        let Some(identity) = identity else { return answer(ClientAuth::Hidden(Reason::Resumed)) };
        let length = usize::from(identity);
        if length < SMALLEST_TICKET {
            // A key from outside is no earlier session.
            let client = withheld(Withheld::Absent, Proof::Inferred, Reason::ExternalPsk);
            return answer(client);
        }
        if let Some(original) = sessions.find(ends, sni, identity) {
            return answer(linked(original));
        }
        let size = Arithmetic::of(suite);
        let end = self.flight_end().unwrap_or(u64::MAX);
        let padded = self
            .server_records
            .iter()
            .rfind(|record| record.mark.acknowledged.is_some_and(|seen| u64::from(seen) < end))
            .is_none_or(|record| u32::from(record.length) == size.finished.saturating_add(16));
        if let Some(client) = sessions.siblings(ends, sni, identity) {
            return answer(client);
        }
        answer(if length >= CERTIFICATE_TICKET && !padded && finished {
            sent(Proof::Inferred, Reason::TicketSize)
        } else {
            self.small_ticket(length)
        })
    }

    /// A small ticket proves nothing by itself; with the mesh's marks the server is Envoy, whose tickets are known.
    pub(super) fn small_ticket(&self, length: usize) -> ClientAuth {
        if self.mesh() && length > SMALLEST_TICKET && length <= SMALL_TICKET {
            withheld(Withheld::Absent, Proof::Inferred, Reason::TicketSize)
        } else {
            ClientAuth::Hidden(Reason::Resumed)
        }
    }

    /// Whether the hello carries Istio's marks: its ALPN names, or a sidecar's server name.
    pub(super) fn mesh(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| {
            hello.protocols().any(|name| name == b"istio" || name.starts_with(b"istio-"))
                || hello.server_name().is_some_and(|name| name.starts_with(b"outbound_."))
        })
    }
}

/// A resumed session keeps its original's client authentication, on evidence no stronger than the link.
pub(super) fn linked(original: ClientAuth) -> ClientAuth {
    let link = |evidence: Evidence| evidence_of_link(evidence.proof);
    match original {
        ClientAuth::Proved(_, evidence) => ClientAuth::Proved(Presented::Sent, link(evidence)),
        ClientAuth::Refuted(how, evidence) => ClientAuth::Refuted(how, link(evidence)),
        ClientAuth::Hidden(_) => ClientAuth::Hidden(Reason::Resumed),
    }
}

fn evidence_of_link(proof: Proof) -> Evidence {
    Evidence::because(proof.min(Proof::Linked), Reason::SessionLink)
}
