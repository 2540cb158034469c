//! What many connections show alike, read once and kept once: hellos, certificates, sessions.
//!
//! In a mesh a client says nearly the same in every hello. What a hello offers is therefore looked up by a hash of those
//! of its bytes that do not change from one connection to the next, and a whole session by what it is made of. Bounded;
//! when a bound is reached everything is forgotten and read again, which changes no answer.

use std::sync::Arc;

use flow::{Certificate, Outcome, TlsSession};
use hashbrown::HashMap;

use super::certificate::Leaf;
use super::hello::{ClientHello, ServerHello, extension, is_grease, stream_version};
use super::ja4::{self, Carrier};
use super::{groups, suites};

/// Most hellos, most certificates, and most sessions kept at a time.
const MOST: usize = 4096;

/// What was read before.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By what of a hello they are made of.
    offers: HashMap<Vec<u8>, (Arc<Offer>, u64)>,
    /// By their length in the chain and their bytes.
    certificates: HashMap<Leaf, (Option<Arc<Certificate>>, u64)>,
    sessions: HashMap<Parts, Arc<TlsSession>>,
    /// The last number given to an offer or a certificate. Numbers are never used twice.
    last: u64,
    /// Where the next hello's parts are put together.
    parts: Vec<u8>,
}

/// What a hello offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Offer {
    sni: Option<String>,
    alpn: Vec<String>,
    ech: bool,
    ja4: Option<String>,
}

/// What a session is made of: its shape as a key. Numbers stand for what is kept; 0 for what was not seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Parts {
    offer: u64,
    client_certificate: u64,
    server_certificate: u64,
    answer: Option<(u16, u16, Option<u16>, Option<String>)>,
    outcome: Outcome,
    resumed: Option<bool>,
    early_data: bool,
    hello_retry: bool,
}

/// What a handshake showed, to be made into a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    /// The first hello, which the fingerprint is of, and the one in force.
    pub(super) hellos: Option<(&'a ClientHello, &'a ClientHello)>,
    pub(super) carrier: Carrier,
    pub(super) version: Option<u16>,
    pub(super) answer: Option<&'a ServerHello>,
    /// The group that a ServerKeyExchange names, below TLS 1.3.
    pub(super) group: Option<u16>,
    pub(super) client_certificate: Option<&'a Leaf>,
    pub(super) server_certificate: Option<&'a Leaf>,
    pub(super) outcome: Outcome,
    pub(super) resumed: Option<bool>,
    pub(super) early_data: bool,
    pub(super) hello_retry: bool,
}

impl Known {
    /// Returns the session that a handshake shows.
    pub(super) fn session(&mut self, shown: Shown<'_>) -> Arc<TlsSession> {
        let (offer, offer_number) = self.offer(shown.hellos, shown.carrier);
        let (client_certificate, client_number) = self.certificate(shown.client_certificate);
        let (server_certificate, server_number) = self.certificate(shown.server_certificate);
        // An SSL 2.0 answer has no suite of its own.
        let answer = shown.answer.filter(|answer| answer.version != 2);
        let group = answer.and_then(|answer| answer.group.or(shown.group));
        let alpn = answer.filter(|answer| !answer.is_tls13()).and_then(|answer| answer.alpn.clone());
        let version = shown.version;
        let parts = Parts {
            offer: offer_number,
            client_certificate: client_number,
            server_certificate: server_number,
            answer: version.map(|version| {
                (version, answer.map(|answer| answer.suite).unwrap_or_default(), group, alpn.clone())
            }),
            outcome: shown.outcome,
            resumed: shown.resumed,
            early_data: shown.early_data,
            hello_retry: shown.hello_retry,
        };
        if let Some(session) = self.sessions.get(&parts) {
            return session.clone();
        }
        let session = Arc::new(TlsSession {
            version: version.and_then(stream_version),
            quic: None,
            sni: offer.sni.clone(),
            alpn_offered: offer.alpn.clone(),
            alpn,
            cipher: answer.map(|answer| suites::name(answer.suite)),
            group: group.map(groups::name),
            resumed: shown.resumed,
            outcome: shown.outcome,
            ja4: offer.ja4.clone(),
            ech: offer.ech,
            early_data: shown.early_data,
            hello_retry: shown.hello_retry,
            client_certificate,
            server_certificate,
        });
        if self.sessions.len() >= MOST {
            self.sessions.clear();
        }
        self.sessions.insert(parts, session.clone());
        session
    }

    fn offer(&mut self, hellos: Option<(&ClientHello, &ClientHello)>, carrier: Carrier) -> (Arc<Offer>, u64) {
        let Some((first, hello)) = hellos else { return (Arc::default(), 0) };
        self.parts.clear();
        self.parts.push(carrier as u8);
        stable(first, &mut self.parts);
        if !std::ptr::eq(first, hello) {
            stable(hello, &mut self.parts);
        }
        if let Some((offer, number)) = self.offers.get(&self.parts) {
            return (offer.clone(), *number);
        }
        let offer = Arc::new(Offer {
            sni: hello.sni(),
            alpn: hello.alpn_names(),
            ech: hello.offers(extension::ENCRYPTED_CLIENT_HELLO),
            ja4: ja4::fingerprint(first, carrier),
        });
        if self.offers.len() >= MOST {
            self.offers.clear();
        }
        let number = self.number();
        self.offers.insert(self.parts.clone(), (offer.clone(), number));
        (offer, number)
    }

    fn certificate(&mut self, leaf: Option<&Leaf>) -> (Option<Arc<Certificate>>, u64) {
        let Some(leaf) = leaf else { return (None, 0) };
        if let Some((certificate, number)) = self.certificates.get(leaf) {
            return (certificate.clone(), *number);
        }
        let certificate = leaf.read().map(Arc::new);
        if self.certificates.len() >= MOST {
            self.certificates.clear();
        }
        let number = self.number();
        self.certificates.insert(leaf.clone(), (certificate.clone(), number));
        (certificate, number)
    }

    const fn number(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

/// Lists what of a hello an [`Offer`] is made of. GREASE (RFC 8701) changes with every hello and is left out there too.
fn stable(hello: &ClientHello, parts: &mut Vec<u8>) {
    parts.extend_from_slice(&hello.legacy_version.to_be_bytes());
    parts.push(u8::from(hello.whole));
    numbers(hello.suite_bytes(), parts);
    for (kind, body) in hello.extensions().filter(|(kind, _)| !is_grease(*kind)) {
        parts.extend_from_slice(&kind.to_be_bytes());
        match kind {
            extension::SERVER_NAME | extension::ALPN => {
                parts.extend_from_slice(&body.len().to_be_bytes());
                parts.extend_from_slice(body);
            }
            // The length in front takes one byte here and two there.
            extension::SUPPORTED_VERSIONS => numbers(body.get(1..).unwrap_or_default(), parts),
            extension::SIGNATURE_ALGORITHMS => numbers(body.get(2..).unwrap_or_default(), parts),
            _ => {}
        }
    }
    // What no extension begins with: a second hello may follow.
    parts.extend_from_slice(&[0xff; 2]);
}

/// Lists 16-bit numbers, less those of GREASE, behind the length that they had with them.
fn numbers(bytes: &[u8], parts: &mut Vec<u8>) {
    parts.extend_from_slice(&bytes.len().to_be_bytes());
    let pairs = bytes.as_chunks::<2>().0;
    // Asked of all of them at once, which is quicker than one after the other.
    if pairs.iter().fold(false, |found, pair| found | is_grease(u16::from_be_bytes(*pair))) {
        parts.extend(pairs.iter().filter(|pair| !is_grease(u16::from_be_bytes(**pair))).flatten());
    } else {
        parts.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::{client_hello_body, extension, hello_body_with};

    fn shown(hello: &ClientHello, outcome: Outcome) -> Shown<'_> {
        Shown {
            hellos: Some((hello, hello)),
            carrier: Carrier::Tcp,
            version: None,
            answer: None,
            group: None,
            client_certificate: None,
            server_certificate: None,
            outcome,
            resumed: None,
            early_data: false,
            hello_retry: false,
        }
    }

    #[test]
    fn hellos_that_differ_in_what_is_shown_are_told_apart() {
        let mut known = Known::default();
        let mut shown = |name: &str, random: u8, outcome: Outcome| {
            let hello = ClientHello::read(client_hello_body(name, random), false).unwrap();
            known.session(shown(&hello, outcome))
        };
        let first = shown("a.example", 1, Outcome::Incomplete);
        assert_eq!(first.sni.as_deref(), Some("a.example"));
        assert!(Arc::ptr_eq(&first, &shown("a.example", 2, Outcome::Incomplete)), "kept once");
        assert_eq!(shown("b.example", 1, Outcome::Incomplete).sni.as_deref(), Some("b.example"));
        assert_eq!(shown("a.example", 1, Outcome::Failed).outcome, Outcome::Failed);
    }

    #[test]
    fn hellos_that_differ_in_anything_have_their_own_fingerprints() {
        let versions = |list: &[u8]| extension(43, list);
        let base =
            || vec![versions(&[2, 3, 4]), extension(13, &[0, 4, 4, 3, 8, 4]), extension(10, &[0, 2, 0, 29])];
        let with = |at: usize, one: Vec<u8>| {
            let mut list = base();
            list[at] = one;
            list
        };
        let mut bodies = vec![
            hello_body_with(&base(), 1, &[], &[0x13, 1, 0x13, 2]),
            hello_body_with(&base(), 1, &[], &[0x13, 1, 0x13, 3]),
            hello_body_with(&base(), 1, &[], &[0x13, 1]),
            hello_body_with(&with(0, versions(&[2, 3, 3])), 1, &[], &[0x13, 1, 0x13, 2]),
            hello_body_with(&with(1, extension(13, &[0, 4, 4, 3, 8, 5])), 1, &[], &[0x13, 1, 0x13, 2]),
            hello_body_with(&with(2, extension(11, &[1, 0])), 1, &[], &[0x13, 1, 0x13, 2]),
            hello_body_with(&base()[..2], 1, &[], &[0x13, 1, 0x13, 2]),
            hello_body_with(
                &[&base()[..2], &[extension(16, &[0, 3, 2, b'h', b'2'])]].concat(),
                1,
                &[],
                &[0x13, 1],
            ),
            hello_body_with(
                &[&base()[..2], &[extension(16, &[0, 3, 2, b'h', b'3'])]].concat(),
                1,
                &[],
                &[0x13, 1],
            ),
            hello_body_with(&[], 1, &[], &[0x13, 1]),
        ];
        // An older version, where the hello has no list of them.
        let mut older = hello_body_with(&[], 1, &[], &[0x13, 1]);
        older[1] = 2;
        bodies.push(older);
        let fingerprint = |known: &mut Known, body: &[u8], carrier| {
            let hello = ClientHello::read(body.to_vec(), false).unwrap();
            let (offer, number) = known.offer(Some((&hello, &hello)), carrier);
            (offer.ja4.clone().unwrap(), offer.alpn.clone(), number)
        };
        let mut known = Known::default();
        let mut seen = Vec::new();
        for body in &bodies {
            for carrier in [Carrier::Tcp, Carrier::Dtls] {
                let found = fingerprint(&mut known, body, carrier);
                let alone = fingerprint(&mut Known::default(), body, carrier);
                assert_eq!((&found.0, &found.1), (&alone.0, &alone.1), "{body:?}");
                assert!(!seen.contains(&found.2), "kept as another one: {body:?}");
                seen.push(found.2);
            }
        }
        // GREASE, be it among suites, versions, algorithms or extensions, makes no other.
        let greased = |random: u8| {
            let grease = [random, random];
            let list = [
                [&grease[..], &[0, 0]].concat(),
                versions(&[&[4][..], &grease, &[3, 4]].concat()),
                extension(13, &[&[0, 6][..], &grease, &[4, 3, 8, 4]].concat()),
            ];
            hello_body_with(&list, random, &[], &[&grease[..], &[0x13, 1]].concat())
        };
        let numbers =
            [0x0a, 0x1a, 0xfa].map(|random| fingerprint(&mut known, &greased(random), Carrier::Tcp).2);
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut known = Known::default();
        for random in 0..MOST.saturating_mul(2) {
            let name = format!("{random}.example");
            let hello = ClientHello::read(client_hello_body(&name, 1), false).unwrap();
            known.session(shown(&hello, Outcome::Incomplete));
            assert!(known.offers.len() <= MOST && known.sessions.len() <= MOST, "{random}");
        }
        for chain in 0..MOST.saturating_mul(2) {
            let leaf = Leaf { der: vec![1, 2, 3], chain };
            assert_eq!(known.certificate(Some(&leaf)).0, None, "no certificate");
        }
        assert!(known.certificates.len() <= MOST);
    }
}
