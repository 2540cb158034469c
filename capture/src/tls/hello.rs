//! The bodies of ClientHello and ServerHello (RFC 8446 sections 4.1.2 and 4.1.3, RFC 5246 section 7.4.1).
//!
//! Lenient on purpose: extensions are stepped through by their outer lengths, so a malformed one never hides a later
//! one, and a body that was cut is read as far as it goes.

use flow::TlsVersion;

use super::cursor::Cursor;

/// Longest name or protocol list entry kept; what is longer is not a name that DNS allows.
const MAX_NAME: usize = 255;
/// Most protocols kept of an ALPN offer.
const MAX_PROTOCOLS: usize = 32;

/// What a ClientHello says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    pub(crate) legacy_version: u16,
    /// Hash of the whole body, random bytes and key share included, by which the very hello is known again; absent
    /// where the body was cut.
    pub(crate) name: Option<u128>,
    pub(crate) session_id: Vec<u8>,
    pub(crate) suites: Vec<u16>,
    /// Extension types in their order.
    pub(crate) extensions: Vec<u16>,
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) supported_versions: Vec<u16>,
    pub(crate) signature_algorithms: Vec<u16>,
    /// Lengths of the offered PSK identities (RFC 8446 section 4.2.11), in order.
    pub(crate) identities: Vec<u16>,
    /// The RFC 5077 ticket; absent when none, or an empty one, was offered.
    pub(crate) ticket: Option<Vec<u8>>,
    /// Whether the body was read to its end, so that what is absent was not sent.
    pub(crate) whole: bool,
}

/// RFC 8446 section 4.2 and the registry: the extension types that are read here.
pub(crate) mod extension {
    pub(crate) const SERVER_NAME: u16 = 0;
    pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(crate) const ALPN: u16 = 16;
    /// `record_size_limit` (RFC 8449).
    pub(crate) const RECORD_SIZE_LIMIT: u16 = 28;
    pub(crate) const SESSION_TICKET: u16 = 35;
    pub(crate) const PRE_SHARED_KEY: u16 = 41;
    pub(crate) const EARLY_DATA: u16 = 42;
    pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
    pub(crate) const POST_HANDSHAKE_AUTH: u16 = 49;
    /// `key_share`; drafts before 23 numbered it 40.
    pub(crate) const KEY_SHARE: u16 = 51;
    pub(crate) const KEY_SHARE_OF_DRAFTS: u16 = 40;
    /// Next Protocol Negotiation, before ALPN: its message stands between ChangeCipherSpec and Finished.
    pub(crate) const NEXT_PROTOCOL: u16 = 13_172;
    /// Channel ID, of both numberings; its message stands there too, in TLS 1.3 before Finished.
    pub(crate) const CHANNEL_ID_OLD: u16 = 30_031;
    pub(crate) const CHANNEL_ID: u16 = 30_032;
    pub(crate) const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

impl ClientHello {
    /// Reads a ClientHello's body; `None` when not even its version is there. `datagram` says that a DTLS cookie
    /// follows the session id.
    pub(crate) fn read(body: &[u8], datagram: bool) -> Option<Self> {
        let mut at = Cursor(body);
        let mut hello = Self { legacy_version: at.u16()?, ..Self::default() };
        hello.whole = hello.rest(at, datagram).is_some();
        hello.name = hello.whole.then(|| super::sessions::name(body));
        Some(hello)
    }

    fn rest(&mut self, mut at: Cursor<'_>, datagram: bool) -> Option<()> {
        at.take(32)?;
        self.session_id = at.vector8()?.to_vec();
        if datagram {
            at.vector8()?;
        }
        self.suites = Cursor(at.vector16()?).numbers();
        at.vector8()?;
        if at.0.is_empty() {
            return Some(());
        }
        let announced = usize::from(at.u16()?);
        let cut = announced > at.0.len();
        let mut list = Cursor(at.take_up_to(announced));
        while !list.0.is_empty() {
            let kind = list.u16()?;
            let body = list.vector16()?;
            self.extensions.push(kind);
            // A malformed extension says nothing; the next one still does.
            let _ = self.extension(kind, Cursor(body));
        }
        (!cut).then_some(())
    }

    fn extension(&mut self, kind: u16, mut at: Cursor<'_>) -> Option<()> {
        match kind {
            extension::SERVER_NAME => {
                let mut names = Cursor(at.vector16()?);
                while let (Some(form), Some(name)) = (names.u8(), names.vector16()) {
                    if form == 0 && self.sni.is_none() && !name.is_empty() && name.len() <= MAX_NAME {
                        self.sni = Some(printable(name));
                    }
                }
            }
            extension::ALPN => {
                let mut names = Cursor(at.vector16()?);
                while let Some(name) = names.vector8() {
                    if self.alpn.len() < MAX_PROTOCOLS {
                        self.alpn.push(name.to_vec());
                    }
                }
            }
            extension::SUPPORTED_VERSIONS => self.supported_versions = Cursor(at.vector8()?).numbers(),
            extension::SIGNATURE_ALGORITHMS => self.signature_algorithms = Cursor(at.vector16()?).numbers(),
            extension::SESSION_TICKET => self.ticket = (!at.0.is_empty()).then(|| at.0.to_vec()),
            extension::PRE_SHARED_KEY => {
                let mut identities = Cursor(at.vector16()?);
                while let (Some(identity), Some(_age)) = (identities.vector16(), identities.u32()) {
                    self.identities.push(u16::try_from(identity.len()).unwrap_or(u16::MAX));
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Reads the body of an SSLv2-framed hello (RFC 5246 appendix E.2), after its type byte.
    pub(crate) fn read_ssl2(body: &[u8]) -> Option<Self> {
        let mut at = Cursor(body);
        let legacy_version = at.u16()?;
        let ciphers = usize::from(at.u16()?);
        let session = usize::from(at.u16()?);
        at.u16()?;
        let mut suites = Vec::new();
        for triple in at.take(ciphers)?.chunks_exact(3) {
            if let [0, high, low] = triple {
                suites.push(u16::from_be_bytes([*high, *low]));
            }
        }
        let session_id = at.take(session)?.to_vec();
        Some(Self { legacy_version, session_id, suites, whole: true, ..Self::default() })
    }

    pub(crate) fn offers(&self, kind: u16) -> bool {
        self.extensions.contains(&kind)
    }

    pub(crate) fn offers_tls13(&self) -> bool {
        self.supported_versions.iter().any(|version| is_tls13(*version))
    }

    pub(crate) fn alpn_names(&self) -> Vec<String> {
        self.alpn.iter().filter(|name| !is_grease_name(name)).map(|name| printable(name)).collect()
    }
}

/// What a ServerHello says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerHello {
    /// The negotiated version number: the one of supported_versions where there is one.
    pub(crate) version: u16,
    pub(crate) retry: bool,
    pub(crate) session_id: Vec<u8>,
    pub(crate) suite: u16,
    pub(crate) group: Option<u16>,
    /// Index of the PSK identity that the server chose; absent when it chose none.
    pub(crate) selected_identity: Option<u16>,
    pub(crate) alpn: Option<String>,
    /// How many messages it makes the client send between ChangeCipherSpec and Finished.
    pub(crate) before_finished: usize,
}

/// The random value that makes a ServerHello a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446
/// section 4.1.3).
pub(crate) const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl ServerHello {
    /// Reads a ServerHello's body; `None` when it was cut, because then neither version nor resumption is known.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let mut at = Cursor(body);
        let mut hello = Self { version: at.u16()?, ..Self::default() };
        hello.retry = at.take(32)? == RETRY;
        // The drafts up to 21 had neither session id nor compression in it.
        let draft = is_tls13(hello.version);
        if !draft {
            hello.session_id = at.vector8()?.to_vec();
        }
        hello.suite = at.u16()?;
        if !draft {
            at.u8()?;
        }
        if !at.0.is_empty() {
            let mut list = Cursor(at.vector16()?);
            while let (Some(kind), Some(body)) = (list.u16(), list.vector16()) {
                let _ = hello.extension(kind, Cursor(body));
            }
        }
        Some(hello)
    }

    fn extension(&mut self, kind: u16, mut at: Cursor<'_>) -> Option<()> {
        match kind {
            extension::SUPPORTED_VERSIONS => self.version = at.u16()?,
            extension::KEY_SHARE | extension::KEY_SHARE_OF_DRAFTS => self.group = Some(at.u16()?),
            extension::PRE_SHARED_KEY => self.selected_identity = Some(at.u16()?),
            extension::ALPN => self.alpn = Some(printable(Cursor(at.vector16()?).vector8()?)),
            extension::NEXT_PROTOCOL | extension::CHANNEL_ID_OLD | extension::CHANNEL_ID => {
                self.before_finished = self.before_finished.saturating_add(1);
            }
            _ => {}
        }
        Some(())
    }

    pub(crate) fn is_tls13(&self) -> bool {
        is_tls13(self.version)
    }
}

/// Whether a version number is TLS 1.3, one of its drafts (0x7f..), or of Facebook's own drafts (0xfb..).
pub(crate) const fn is_tls13(version: u16) -> bool {
    matches!(version, 0x0304 | 0x7f00..=0x7fff | 0xfb00..=0xfbff | 0x7e00..=0x7eff)
}

/// Names a negotiated version number; `None` for one that is no TLS or SSL version over a stream.
pub(crate) const fn stream_version(version: u16) -> Option<TlsVersion> {
    match version {
        0x0002 | 0x0200 => Some(TlsVersion::Ssl2),
        0x0300 => Some(TlsVersion::Ssl3),
        0x0301 => Some(TlsVersion::Tls10),
        0x0302 => Some(TlsVersion::Tls11),
        0x0303 => Some(TlsVersion::Tls12),
        version if is_tls13(version) => Some(TlsVersion::Tls13),
        _ => None,
    }
}

/// Whether a number is one of the reserved values of GREASE (RFC 8701).
pub(crate) const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn is_grease_name(name: &[u8]) -> bool {
    matches!(name, [high, low] if high == low && low & 0x0f == 0x0a)
}

/// Bytes as text: what is no printable ASCII is escaped, so that nothing is lost and nothing runs in a terminal.
fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
