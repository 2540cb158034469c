//! A judged flow in two parts: what many flows share, kept once and named by its content, and what is the flow's own.
//!
//! Judging the same two workloads on the same port gives the same long answer every time, with only times, counts and
//! the client's port different. A flow's own part takes some hundred bytes, the shared one some thousands.

use std::hash::{Hash as _, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use analyzer::report::{Judged, OtherSide};
use flow::{Close, FlowId, PerSide, TcpHandshake, Timestamp};
use hashbrown::HashMap;
use siphasher::sip128::SipHasher13;

use crate::error::StoreError;

/// What is a flow's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) id: FlowId,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) client_port: u16,
    pub(crate) close: Close,
    pub(crate) packets: PerSide,
    pub(crate) bytes: PerSide,
    pub(crate) tcp_handshake: Option<TcpHandshake>,
    pub(crate) translated: Option<OtherSide>,
}

impl Own {
    /// Takes a flow's own part out of it; what is left is its shape.
    pub(crate) fn take(judged: &mut Judged) -> Self {
        let blank = Self {
            id: FlowId(0),
            start: Timestamp::from_nanos(0),
            end: Timestamp::from_nanos(0),
            client_port: 0,
            close: Close::Open,
            packets: PerSide::default(),
            bytes: PerSide::default(),
            tcp_handshake: None,
            translated: None,
        };
        blank.swap(judged)
    }

    /// Makes a shape the flow that it was.
    pub(crate) fn give(self, shape: &mut Judged) {
        self.swap(shape);
    }

    fn swap(self, judged: &mut Judged) -> Self {
        let flow = &mut judged.flow;
        Self {
            id: std::mem::replace(&mut flow.id, self.id),
            start: std::mem::replace(&mut flow.start, self.start),
            end: std::mem::replace(&mut flow.end, self.end),
            client_port: std::mem::replace(&mut flow.client.port, self.client_port),
            close: std::mem::replace(&mut flow.close, self.close),
            packets: std::mem::replace(&mut flow.packets, self.packets),
            bytes: std::mem::replace(&mut flow.bytes, self.bytes),
            tcp_handshake: std::mem::replace(&mut flow.tcp_handshake, self.tcp_handshake),
            translated: std::mem::replace(&mut judged.translated, self.translated),
        }
    }
}

/// Writes the other side of a translation out, as it is kept; absent where there is none.
pub(crate) fn write_other(translated: Option<OtherSide>) -> Result<Option<String>, StoreError> {
    Ok(translated.map(|other| serde_json::to_string(&other)).transpose()?)
}

/// Reads the other side of a translation back.
pub(crate) fn read_other(text: Option<&str>) -> Result<Option<OtherSide>, StoreError> {
    Ok(text.map(serde_json::from_str).transpose()?)
}

/// Writes a shape out, as it is kept.
pub(crate) fn write(shape: &Judged) -> Result<String, StoreError> {
    Ok(serde_json::to_string(shape)?)
}

/// How many shapes are remembered by name; past it all are forgotten.
pub(crate) const REMEMBERED: usize = 200_000;

/// The names of the shapes met so far. A name is a hash of 128 bits of the shape as it is kept, and to write a shape out takes
/// longer than all else that is done to a flow: here it is found by a hash of the shape as it lies in memory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    names: HashMap<u128, u128>,
    /// What is hashed, to be used again.
    bytes: Laid,
}

/// What lies in memory, byte by byte: to hash it at once takes a fraction of what its many small parts take one by one.
#[derive(Debug, Default)]
struct Laid(Vec<u8>);

impl Hasher for Laid {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.0.push(number);
    }

    /// Lengths, mostly small.
    fn write_usize(&mut self, number: usize) {
        match u8::try_from(number) {
            Ok(small) if small < u8::MAX => self.0.push(small),
            Ok(_) | Err(_) => {
                self.0.push(u8::MAX);
                self.0.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// Which one of an enumeration's.
    fn write_isize(&mut self, number: isize) {
        self.write_usize(number.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        SipHasher13::new().hash(&self.0).h1
    }
}

impl Names {
    /// Returns the shape's name.
    pub(crate) fn of(&self, shape: &Judged) -> Result<u128, StoreError> {
        let mut known = self.lock();
        let Known { names, bytes } = &mut *known;
        bytes.0.clear();
        shape.hash(bytes);
        let met = SipHasher13::new().hash(&bytes.0).as_u128();
        if let Some(name) = names.get(&met) {
            return Ok(*name);
        }
        let name = SipHasher13::new().hash(write(shape)?.as_bytes()).as_u128();
        if names.len() >= REMEMBERED {
            names.clear();
        }
        names.insert(met, name);
        Ok(name)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the edge of a flow: flows that look the same between the same ends have the same one.
pub(crate) fn edge(shape: &Judged) -> Result<String, StoreError> {
    let (client, server, seen) = (&shape.client, &shape.server, &shape.flow);
    Ok(serde_json::to_string(&(
        (client.name(), client.kind),
        (server.name(), server.kind),
        (seen.transport, seen.server.port, seen.protocol),
        (seen.security.class(), seen.security.evidence().proof),
    ))?)
}

#[cfg(test)]
mod tests {
    use flow::Class;

    use super::*;
    use crate::sample::sample;

    #[test]
    fn flows_that_differ_in_their_own_part_alone_share_a_shape() {
        let (mut one, mut two) = (sample(1, 100, Class::Mtls, None), sample(2, 200, Class::Mtls, None));
        two.flow.client.port = 4;
        two.flow.close = Close::Reset;
        two.flow.bytes.server = 9;
        two.flow.tcp_handshake = Some(TcpHandshake(5));
        two.translated = Some((&two.flow).into());
        let whole = two.clone();
        let (_, own) = (Own::take(&mut one), Own::take(&mut two));
        let names = Names::default();
        assert_eq!(names.of(&one).unwrap(), names.of(&two).unwrap());
        let mut back: Judged = serde_json::from_str(&write(&two).unwrap()).unwrap();
        own.give(&mut back);
        assert_eq!(back, whole);
    }

    #[test]
    fn flows_of_other_classes_do_not() {
        let known = Names::default();
        let mut names = Vec::new();
        for class in [Class::Mtls, Class::Tls, Class::Plaintext] {
            let mut judged = sample(1, 100, class, None);
            Own::take(&mut judged);
            names.push(known.of(&judged).unwrap());
        }
        names.dedup();
        assert_eq!(names.len(), 3);
    }

    /// Names are kept in stores: one that is remembered is the one that another program would give.
    #[test]
    fn a_name_that_is_remembered_is_the_hash_of_the_text() {
        let known = Names::default();
        let mut judged = sample(1, 100, Class::Plaintext, None);
        Own::take(&mut judged);
        let name = SipHasher13::new().hash(write(&judged).unwrap().as_bytes()).as_u128();
        assert_eq!([known.of(&judged).unwrap(), known.of(&judged).unwrap()], [name, name]);
    }
}
