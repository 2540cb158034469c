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

/// What a ClientHello says: its body as sent, and where in it things stand.
///
/// Nothing is taken out before it is asked for, since most hellos of a client say the same. In front is what is asked for
/// with every packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct ClientHello {
    /// Which extensions it offers of those that have a [`mark`], a bit each: what is asked of a hello again and again.
    offered: u16,
    /// Whether the body was read to its end, so that what is absent was not sent.
    pub(crate) whole: bool,
    pub(crate) legacy_version: u16,
    body: Vec<u8>,
    session_id: Span,
    suites: Span,
    extensions: Span,
    sni: Span,
    alpn: Span,
    supported_versions: Span,
    signature_algorithms: Span,
    identities: Span,
    ticket: Span,
}

/// A range of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    from: u32,
    length: u32,
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
    /// Application-Layer Protocol Settings, of both numberings (draft-vvv-tls-alps): where they are agreed on, the client's
    /// stand in a message of its own before its authentication.
    pub(crate) const APPLICATION_SETTINGS_OLD: u16 = 17_513;
    pub(crate) const APPLICATION_SETTINGS: u16 = 17_613;
    pub(crate) const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

/// A Channel ID's message: key and signature on P-256, and the headers of message and extension.
const CHANNEL_ID_MESSAGE: u32 = 136;

/// How many bytes a client's application settings take at most. Those of HTTP/2 and HTTP/3 are a frame of a few settings, well
/// under a hundred bytes.
const MOST_SETTINGS: u32 = 512;

/// The most that [`ClientHello::besides_authentication`] returns of any hello.
pub(super) const MOST_BESIDES: u32 = CHANNEL_ID_MESSAGE + MOST_SETTINGS;

impl ClientHello {
    /// Reads a ClientHello's body; `None` when not even its version is there. `datagram` says that a DTLS cookie
    /// follows the session id.
    pub(crate) fn read(body: Vec<u8>, datagram: bool) -> Option<Self> {
        let legacy_version = Cursor(&body).u16()?;
        let mut hello = Self { legacy_version, ..Self::default() };
        hello.whole = hello.rest(&body, datagram).is_some();
        hello.body = body;
        Some(hello)
    }

    fn rest(&mut self, body: &[u8], datagram: bool) -> Option<()> {
        let mut at = Cursor(body.get(2..)?);
        at.take(32)?;
        self.session_id = Span::before(body, at.vector8()?.len(), at);
        if datagram {
            at.vector8()?;
        }
        self.suites = Span::before(body, at.vector16()?.len(), at);
        at.vector8()?;
        if at.0.is_empty() {
            return Some(());
        }
        let announced = usize::from(at.u16()?);
        let cut = announced > at.0.len();
        let list = at.take_up_to(announced);
        self.extensions = Span::before(body, list.len(), at);
        let end = at;
        let mut list = Cursor(list);
        while !list.0.is_empty() {
            let kind = list.u16()?;
            let extension = list.vector16()?;
            self.offered |= mark(kind);
            let after = body.len().saturating_sub(end.0.len()).saturating_sub(list.0.len());
            // A malformed extension says nothing; the next one still does.
            let _ = self.extension(kind, extension, after);
        }
        (!cut).then_some(())
    }

    /// Notes where an extension's contents stand, given where its body ends.
    fn extension(&mut self, kind: u16, body: &[u8], end: usize) -> Option<()> {
        let mut at = Cursor(body);
        let span = |inner: &[u8], at: Cursor<'_>| Span::ending(end.saturating_sub(at.0.len()), inner.len());
        match kind {
            extension::SERVER_NAME => {
                let list = at.vector16()?;
                let mut names = Cursor(list);
                while let (Some(form), Some(name)) = (names.u8(), names.vector16()) {
                    if form == 0 && self.sni.length == 0 && !name.is_empty() && name.len() <= MAX_NAME {
                        let after = at.0.len().saturating_add(names.0.len());
                        self.sni = Span::ending(end.saturating_sub(after), name.len());
                    }
                }
            }
            extension::ALPN => self.alpn = span(at.vector16()?, at),
            extension::SUPPORTED_VERSIONS => self.supported_versions = span(at.vector8()?, at),
            extension::SIGNATURE_ALGORITHMS => self.signature_algorithms = span(at.vector16()?, at),
            extension::SESSION_TICKET => self.ticket = Span::ending(end, body.len()),
            extension::PRE_SHARED_KEY => self.identities = span(at.vector16()?, at),
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
        // Suites of TLS are those that begin with a zero; they are kept as TLS writes them.
        let suites: Vec<u8> = at
            .take(ciphers)?
            .chunks_exact(3)
            .filter_map(|triple| triple.strip_prefix(&[0]))
            .flatten()
            .copied()
            .collect();
        let session_id = Span::ending(suites.len().saturating_add(session), session);
        let suites_span = Span::ending(suites.len(), suites.len());
        let body = [&suites, at.take(session)?].concat();
        Some(Self { body, legacy_version, whole: true, session_id, suites: suites_span, ..Self::default() })
    }

    fn at(&self, span: Span) -> &[u8] {
        let (from, length) = (span.from as usize, span.length as usize);
        self.body.get(from..from.saturating_add(length)).unwrap_or_default()
    }

    /// Names the very hello, by its random bytes, its session id and its length; absent where the body was cut.
    pub(crate) fn name(&self) -> Option<u128> {
        let random = self.body.get(..self.suites.from as usize).filter(|_| self.whole)?;
        Some(super::sessions::hello_name(random, self.body.len()))
    }

    pub(crate) fn session_id(&self) -> &[u8] {
        self.at(self.session_id)
    }

    pub(crate) fn suites(&self) -> impl Iterator<Item = u16> {
        numbers(self.suite_bytes())
    }

    /// Returns the suites as sent.
    pub(crate) fn suite_bytes(&self) -> &[u8] {
        self.at(self.suites)
    }

    /// Lists the extensions in their order.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let mut list = Cursor(self.at(self.extensions));
        std::iter::from_fn(move || Some((list.u16()?, list.vector16()?)))
    }

    /// Returns the server name as sent; absent when there is none, or an empty or over-long one.
    pub(crate) fn server_name(&self) -> Option<&[u8]> {
        Some(self.at(self.sni)).filter(|name| !name.is_empty())
    }

    /// Lists the protocols offered, as sent.
    pub(crate) fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        let mut names = Cursor(self.at(self.alpn));
        std::iter::from_fn(move || names.vector8()).take(MAX_PROTOCOLS)
    }

    pub(crate) fn supported_versions(&self) -> impl Iterator<Item = u16> {
        numbers(self.at(self.supported_versions))
    }

    pub(crate) fn signature_algorithms(&self) -> impl Iterator<Item = u16> {
        numbers(self.at(self.signature_algorithms))
    }

    /// Lists the lengths of the offered PSK identities (RFC 8446 section 4.2.11), in order.
    pub(crate) fn identities(&self) -> impl Iterator<Item = u16> {
        let mut identities = Cursor(self.at(self.identities));
        std::iter::from_fn(move || {
            let length = u16::try_from(identities.vector16()?.len()).unwrap_or(u16::MAX);
            identities.u32().map(|_age| length)
        })
    }

    /// Returns the RFC 5077 ticket; absent when none, or an empty one, was offered.
    pub(crate) fn ticket(&self) -> Option<&[u8]> {
        Some(self.at(self.ticket)).filter(|ticket| !ticket.is_empty())
    }

    pub(crate) fn offers(&self, kind: u16) -> bool {
        match mark(kind) {
            0 => self.extensions().any(|(offered, _)| offered == kind),
            bit => self.offered & bit != 0,
        }
    }

    /// Whether it offers an extension, or was cut so that it may.
    pub(crate) fn may_offer(&self, kind: u16) -> bool {
        self.offers(kind) || !self.whole
    }

    /// How many bytes of the client's TLS 1.3 flight may be neither authentication nor Finished: whether the server agreed
    /// to what the hello offers is encrypted.
    pub(crate) fn besides_authentication(&self) -> u32 {
        let channel_id = u32::from(self.may_offer(extension::CHANNEL_ID));
        let settings = [extension::APPLICATION_SETTINGS_OLD, extension::APPLICATION_SETTINGS];
        let settings = u32::from(settings.into_iter().any(|kind| self.may_offer(kind)));
        channel_id.saturating_mul(CHANNEL_ID_MESSAGE).saturating_add(settings.saturating_mul(MOST_SETTINGS))
    }

    pub(crate) fn offers_tls13(&self) -> bool {
        self.supported_versions().any(is_tls13)
    }

    pub(crate) fn sni(&self) -> Option<String> {
        self.server_name().map(printable)
    }

    pub(crate) fn alpn_names(&self) -> Vec<String> {
        self.protocols().filter(|name| !is_grease_name(name)).map(printable).collect()
    }
}

/// Returns the bit of an extension type that is asked for more than once of every hello; none for the others.
const fn mark(kind: u16) -> u16 {
    match kind {
        extension::SERVER_NAME => 1,
        extension::PRE_SHARED_KEY => 1 << 1,
        extension::EARLY_DATA => 1 << 2,
        extension::POST_HANDSHAKE_AUTH => 1 << 3,
        extension::NEXT_PROTOCOL => 1 << 4,
        extension::CHANNEL_ID_OLD => 1 << 5,
        extension::CHANNEL_ID => 1 << 6,
        extension::ENCRYPTED_CLIENT_HELLO => 1 << 7,
        extension::APPLICATION_SETTINGS_OLD => 1 << 8,
        extension::APPLICATION_SETTINGS => 1 << 9,
        _ => 0,
    }
}

impl Span {
    /// Returns where the `length` bytes stand that `rest`, the end of `whole`, follows.
    fn before(whole: &[u8], length: usize, rest: Cursor<'_>) -> Self {
        Self::ending(whole.len().saturating_sub(rest.0.len()), length)
    }

    /// Returns where the `length` bytes stand that end there. A message is far shorter than 32 bits can tell.
    fn ending(end: usize, length: usize) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { from: number(end.saturating_sub(length)), length: number(length) }
    }
}

/// Reads 16-bit numbers; an odd last byte is dropped.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair))
}

/// What a ServerHello says. In front is what is asked for with every packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct ServerHello {
    /// The negotiated version number: the one of supported_versions where there is one.
    pub(crate) version: u16,
    pub(crate) suite: u16,
    /// Index of the PSK identity that the server chose; absent when it chose none.
    pub(crate) selected_identity: Option<u16>,
    pub(crate) group: Option<u16>,
    pub(crate) retry: bool,
    /// The session's id; not kept in TLS 1.3, which only echoes it.
    pub(crate) session_id: Vec<u8>,
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
        let session_id = if draft { &[][..] } else { at.vector8()? };
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
        if !hello.is_tls13() {
            hello.session_id = session_id.to_vec();
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

/// TLS 1.3 (RFC 8446 section 4.2.1).
pub(super) const TLS13: u16 = 0x0304;

/// Whether a version number is TLS 1.3, one of its drafts (0x7f..), or of Facebook's own drafts (0xfb..).
pub(crate) const fn is_tls13(version: u16) -> bool {
    matches!(version, TLS13 | 0x7f00..=0x7fff | 0xfb00..=0xfbff | 0x7e00..=0x7eff)
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
