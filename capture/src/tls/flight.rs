//! The client's flight of a full TLS 1.3 handshake: where it stands among the client's records, and what it says.

use flow::{ClientAuth, Evidence, Outcome, Presented, Proof, Reason, Withheld};

use super::client_auth::{self, Arithmetic, Reading, SMALLEST_AUTHENTICATION};
use super::conclude::{Answer, DECIDED, lowered, sent, withheld};
use super::handshake::{Handshake, MAX_RECORDS};
use super::hello::{ClientHello, MOST_BESIDES, extension};
use super::sessions::TICKET_RECORDS;
use super::stream::Record;
use super::suites;
use super::suites::Lengths;

/// How many records after refused early data may hide the client's flight.
const EARLY_WATCH: usize = 16;

/// By how many bytes the tickets of one handshake differ at most: their nonces and extensions do, if anything.
const TICKETS_DIFFER: u16 = 64;

/// The lengths of some records of one direction.
pub(super) struct RecordLengths {
    lengths: [u32; MAX_RECORDS],
    count: usize,
}

impl RecordLengths {
    pub(super) fn of(records: &[Record]) -> Self {
        let mut lengths = [0; MAX_RECORDS];
        for (length, record) in lengths.iter_mut().zip(records) {
            *length = u32::from(record.length);
        }
        Self { lengths, count: records.len().min(MAX_RECORDS) }
    }
}

impl std::ops::Deref for RecordLengths {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        self.lengths.get(..self.count).unwrap_or_default()
    }
}

impl Handshake {
    /// Where the client's flight starts among its records: with early data, at the first record whose segment
    /// acknowledges the ServerHello, and where that was accepted, after EndOfEarlyData (RFC 8446 section 4.5).
    pub(super) fn flight_start(&self, accepted: bool, suite: Lengths) -> Option<usize> {
        if !self.may_send_early || self.again() {
            return (!self.client_records.is_empty()).then_some(0);
        }
        if accepted {
            let size = Arithmetic::of(suite);
            let end_of_early_data = size.overhead.saturating_add(4);
            let pair = self.client_records.windows(2).position(|pair| {
                matches!(pair, [end, last] if u32::from(end.length) == end_of_early_data && u32::from(last.length) == size.finished)
            });
            if let Some(at) = pair {
                return Some(at.saturating_add(1));
            }
        }
        let end = self.answer_end?;
        // The first one of which it is not known what it acknowledges may be the flight's, or may not.
        let mut records = self.client_records.iter().map(|record| record.mark.acknowledged);
        let at = records.position(|acknowledged| acknowledged.is_none_or(|seen| u64::from(seen) >= end))?;
        self.client_records.get(at)?.mark.acknowledged.map(|_| at)
    }

    pub(super) fn flight_lengths(&self, accepted: bool, suite: Lengths) -> RecordLengths {
        let start = self.flight_start(accepted, suite).unwrap_or(self.client_records.len());
        RecordLengths::of(self.client_records.get(start..).unwrap_or_default())
    }

    /// Where the first record of the client's flight ends in its stream.
    pub(super) fn flight_end(&self) -> Option<u64> {
        let server = self.answer.as_ref()?;
        let suite = suites::lengths(server.suite)?;
        let start = self.flight_start(server.selected_identity.is_some(), suite)?;
        self.client_records.get(start).map(|record| record.end)
    }

    /// The server's records, and the one that has begun: its header tells how long it will be.
    pub(super) fn server_said(&self) -> impl Iterator<Item = Record> + Clone {
        let begun = self.server.begun_record().filter(|record| record.kind == 23);
        self.server_records.iter().copied().chain(begun)
    }

    /// The server's records that can be an answer to the client's flight: what their segments acknowledge tells, not
    /// their place in the capture, since one direction may be captured later than the other.
    pub(super) fn reaction(&self) -> impl Iterator<Item = Record> + Clone {
        let end = self.flight_end();
        self.server_said().filter(move |record| {
            end.is_some_and(|end| record.mark.acknowledged.is_some_and(|seen| u64::from(seen) >= end))
        })
    }

    /// Whether the server's records that may hold tickets have begun, all of them: tickets of a handshake are all as long, and come before
    /// anything else that answers the flight, so they are over with a record of another length. Where nothing tells what
    /// records acknowledge, they are not remembered, and any that came later will do.
    pub(super) fn tickets_over(&self, flight: &[Record], suite: Lengths) -> bool {
        let Some(first) = flight.first() else { return false };
        let answers = |record: &Record| match record.mark.acknowledged {
            Some(seen) => u64::from(seen) >= first.end,
            None => record.mark.packet > first.mark.packet,
        };
        let size = Arithmetic::of(suite);
        let (mut before, mut alerts_alone) = (None, true);
        for (number, record) in self.server_said().filter(answers).enumerate() {
            let length = record.length;
            // One or two alerts are a refusal, if nothing follows.
            alerts_alone &= size.is_alert(u32::from(length));
            let another = before.is_some_and(|before: u16| before.abs_diff(length) > TICKETS_DIFFER);
            if number.saturating_add(1) >= TICKET_RECORDS || (another && !alerts_alone) {
                return true;
            }
            before = Some(length);
        }
        false
    }

    /// A full TLS 1.3 handshake.
    pub(super) fn flight(&self, suite: Lengths) -> Answer {
        let resumed = Some(false);
        let lengths = self.flight_lengths(false, suite);
        if lengths.is_empty() && self.client_alert {
            let client = withheld(Withheld::Absent, Proof::Exact, Reason::FlightSize);
            return Answer { client, outcome: Outcome::Failed, resumed };
        }
        let shape = Reason::FlightSize;
        let reading = client_auth::read(suite, &lengths, self.ended_either());
        let (client, last) = match self.doubted(reading, suite, &lengths) {
            Reading::Absent(proof) => (withheld(Withheld::Absent, proof, shape), 0),
            Reading::Declined { proof, last } => (withheld(Withheld::Declined, proof, shape), last),
            Reading::Certificate { proof, last } => {
                (sent(proof, if proof == Proof::Inferred { Reason::Padding } else { shape }), last)
            }
            Reading::Aborted => {
                let client = withheld(Withheld::Absent, Proof::Strong, shape);
                return Answer { client, outcome: Outcome::Failed, resumed };
            }
            Reading::More => {
                let reason =
                    if lengths.is_empty() && self.server_alert { Reason::Refused } else { self.blindness() };
                return Answer { resumed, ..Answer::hidden(reason, self.failed_or(Outcome::Incomplete)) };
            }
            unread @ (Reading::Padded | Reading::Shapeless) => {
                // A server that refuses says an alert and a close at most; of so little, padded, nobody knows what it is.
                let outcome = match self.reaction().take(3).count() {
                    0 => self.failed_or(Outcome::Incomplete),
                    1 | 2 => Outcome::Incomplete,
                    _ => Outcome::Established,
                };
                let reason = if unread == Reading::Padded { Reason::Padding } else { Reason::FlightShape };
                return Answer { resumed, ..Answer::hidden(reason, outcome) };
            }
        };
        let rejected = self.rejected(suite, last);
        let outcome = if rejected && !matches!(client, ClientAuth::Refuted(Withheld::Absent, _)) {
            Outcome::Failed
        } else {
            Outcome::Established
        };
        let client = match client {
            ClientAuth::Proved(_, evidence) if rejected => ClientAuth::Proved(Presented::Rejected, evidence),
            ClientAuth::Refuted(how, Evidence { proof, .. }) if self.may_authenticate_late => {
                let start = self.flight_start(false, suite).unwrap_or(0);
                let later = self
                    .client_records
                    .get(start.saturating_add(last).saturating_add(1)..)
                    .unwrap_or_default();
                if client_auth::post_handshake(suite, later) {
                    sent(Proof::Inferred, Reason::PostHandshake)
                } else if let Some(reason) = self.client.broken {
                    // What was lost may have been the authentication that came late.
                    ClientAuth::Hidden(reason)
                } else {
                    withheld(how, lowered(proof), Reason::PostHandshake)
                }
            }
            ClientAuth::Proved(..) | ClientAuth::Refuted(..) | ClientAuth::Hidden(_) => client,
        };
        Answer { client, outcome, resumed }
    }

    /// What else may look like a flight of this reading: then its shape tells nothing.
    pub(super) fn doubted(&self, reading: Reading, suite: Lengths, lengths: &[u32]) -> Reading {
        let doubtful = match reading {
            Reading::Certificate { proof, .. }
                if proof < Proof::Exact && self.may_be_padded(suite, lengths) =>
            {
                return Reading::Padded;
            }
            Reading::Certificate { proof, .. } if proof < Proof::Exact => {
                self.without_authentication(suite, lengths) || self.after_early_data(suite, lengths)
            }
            // Records all as long as a limit that the server may have set are pieces of something longer (RFC 8449).
            Reading::Absent(proof) | Reading::Declined { proof, .. } if proof < Proof::Exact => {
                self.may_offer(extension::RECORD_SIZE_LIMIT) && lengths.first() == lengths.get(1)
            }
            Reading::Certificate { .. }
            | Reading::Absent(_)
            | Reading::Declined { .. }
            | Reading::Aborted
            | Reading::More
            | Reading::Padded
            | Reading::Shapeless => false,
        };
        if doubtful { Reading::Shapeless } else { reading }
    }

    /// Whether what looks like a flight with a certificate may be a small one whose messages were padded to blocks of their own, whatever
    /// was done with the records after them (OpenSSL's `SSL_CTX_set_block_padding_ex`). Istio's proxies pad nothing.
    pub(super) fn may_be_padded(&self, suite: Lengths, lengths: &[u32]) -> bool {
        let size = Arithmetic::of(suite);
        lengths.first().is_some_and(|first| size.fills_large_blocks(*first)) && !self.mesh()
    }

    /// Whether what looks like a flight with a certificate may hold other messages that the hello offers.
    pub(super) fn without_authentication(&self, suite: Lengths, lengths: &[u32]) -> bool {
        let besides = self.hello.as_ref().map_or(MOST_BESIDES, ClientHello::besides_authentication);
        let least =
            SMALLEST_AUTHENTICATION.saturating_add(besides).saturating_add(Arithmetic::of(suite).overhead);
        besides > 0 && lengths.first().is_none_or(|first| *first < least)
    }

    /// Whether what looks like the flight may be early data that was refused. Its segment may acknowledge a ServerHello
    /// that the client's system had, but the client had not read; then a Finished comes soon after it.
    fn after_early_data(&self, suite: Lengths, lengths: &[u32]) -> bool {
        let size = Arithmetic::of(suite);
        let open = lengths.len() < DECIDED && !self.ended_either();
        let later = lengths.get(1..EARLY_WATCH.min(lengths.len())).unwrap_or_default();
        self.may_send_early
            && !self.again()
            && (open
                || later.iter().any(|length| {
                    length.checked_sub(size.finished).is_some_and(|more| matches!(more, 0 | 8 | 16 | 24))
                }))
    }
}
