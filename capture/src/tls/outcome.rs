//! How a handshake ended: that it failed, and that the server refused what the client sent.

use flow::{Outcome, Reason};

use super::Ending;
use super::client_auth::Arithmetic;
use super::handshake::Handshake;
use super::stream::Stream;
use super::suites::Lengths;

impl Handshake {
    /// Whether the connection is over.
    pub(super) const fn ended_both(&self) -> bool {
        match (self.client.ended, self.server.ended) {
            (Some(_), Some(_)) | (Some((Ending::Reset, _)), None) | (None, Some((Ending::Reset, _))) => true,
            (Some((Ending::Fin, _)) | None, None) | (None, Some((Ending::Fin, _))) => false,
        }
    }

    pub(super) const fn ended_either(&self) -> bool {
        self.client.ended.is_some() || self.server.ended.is_some()
    }

    /// Tells an end that comes before a handshake does from one that only seems to: what is missing may have finished it.
    pub(super) fn failed_or(&self, otherwise: Outcome) -> Outcome {
        let lacks = |stream: &Stream| {
            let silent = stream.offset == 0 && stream.ended.is_none();
            silent || stream.snapped || matches!(stream.broken, Some(Reason::Gap))
        };
        let whole = self.hello.is_some() && !lacks(&self.client) && !lacks(&self.server);
        if self.client_alert || self.server_alert || (whole && self.ended_both()) {
            Outcome::Failed
        } else {
            otherwise
        }
    }

    /// Whether the server's only reaction to the flight was an alert, or a close without a word, while the client was
    /// still there. What the server had seen by then is what its segments acknowledge.
    pub(super) fn rejected(&self, suite: Lengths, last: usize) -> bool {
        let size = Arithmetic::of(suite);
        let placed = self.server_said().all(|record| record.mark.acknowledged.is_some());
        let (Some(end), true, None) = (self.flight_end(), placed, self.server.broken) else { return false };
        let start = self.flight_start(false, suite).unwrap_or(0);
        let later =
            self.client_records.get(start.saturating_add(last).saturating_add(1)..).unwrap_or_default();
        // An alert of its own is padded as its Finished was, where that came alone; payload may be as long as the other kind.
        let finished = self.client_records.get(start.saturating_add(last));
        let padding = finished.and_then(|record| size.padding(u32::from(record.length)));
        let is_alert = |length: u32| match padding {
            Some(pad) => length == size.alert(pad),
            None => size.is_alert(length),
        };
        // One byte beyond the client's last is its FIN; an alert of its own is a close as well.
        let left = |seen: u64| {
            seen > self.client.offset
                || later.iter().any(|record| record.end <= seen && is_alert(u32::from(record.length)))
        };
        let reaction = || self.reaction();
        match reaction().next() {
            // A server that accepts says something: tickets, data, or at least close_notify.
            None => {
                let seen = self.server.ended.and_then(|(_, seen)| seen).map(u64::from);
                seen.is_some_and(|seen| seen >= end && !left(seen))
            }
            Some(first) => {
                let seen = first.mark.acknowledged.map_or(u64::MAX, u64::from);
                self.ended_either()
                    && reaction().nth(2).is_none()
                    && reaction().all(|record| size.is_alert(u32::from(record.length)))
                    && !left(seen)
            }
        }
    }
}
