//! Why something is not known, and what an inference rests on: short stable words.

crate::named! {
    /// The word behind a class or a client-authentication answer.
    ///
    /// On an unknown it says what hid the answer; on an inference it says what the inference rests on; on an exact
    /// reading there is none. Scripts match on these words: they are added to, never renamed.
    pub enum Reason {
        /// The capture began after the connection did, so its opening was never seen.
        MidStream = "mid-stream",
        /// Bytes that the answer depends on are missing from the capture.
        Gap = "gap",
        /// Only one direction of the connection was captured.
        OneSided = "one-sided",
        /// No payload byte was seen.
        NoPayload = "no-payload",
        /// The capture's snap length cut the bytes that the answer depends on.
        SnapLength = "snap-length",
        /// The connection was still opening when the capture (or the flow's entry) ended.
        Incomplete = "incomplete",
        /// Seen from the start, not TLS, not recognised, and not text.
        NotTls = "not-tls",
        /// Not recognised, but text-like or of low entropy from the start.
        TextLike = "text-like",
        /// A bound of the engine was reached before the answer; the bound is counted in coverage.
        Bound = "bound",
        /// TLS 1.3: the length of the client's first encrypted flight.
        FlightSize = "flight-size",
        /// TLS 1.3: the flight fits no known shape.
        FlightShape = "flight-shape",
        /// TLS 1.3: the records are padded to blocks that hide the flight's length.
        Padding = "padding",
        /// Resumption of a session whose own handshake was not seen.
        Resumed = "resumed",
        /// The session ticket's length, which holds the client's certificate on known stacks.
        TicketSize = "ticket-size",
        /// Resumption linked to a handshake that was seen.
        SessionLink = "session-link",
        /// An external pre-shared key, where certificates do not occur.
        ExternalPsk = "external-psk",
        /// Post-handshake authentication was offered, so a later certificate is not excluded.
        PostHandshake = "post-handshake",
        /// A client certificate may have come in a renegotiation.
        Renegotiation = "renegotiation",
        /// The ClientHello offers Istio's ALPN or SNI.
        IstioAlpn = "istio-alpn",
        /// The ClientHello looks like an HBONE tunnel's.
        Hbone = "hbone",
        /// Two pieces of evidence disagree; the weaker claim is reported.
        Conflict = "conflict",
        /// A QUIC or DTLS handshake whose flights do not tell.
        Datagram = "datagram",
        /// The server refused, or never answered, the hello.
        Refused = "refused",
        /// An upgrade to TLS was offered and refused; the connection went on in the clear.
        UpgradeRefused = "upgrade-refused",
        /// Other full handshakes at the same server port all went the same way.
        Siblings = "siblings",
        /// The cipher suite encrypts nothing: the content is in plaintext, whatever the handshake proved.
        NullCipher = "null-cipher",
    }
}
