//! The catalogue of detectors: one file a protocol beside this one, listed here.

use std::sync::LazyLock;

use flow::{Protocol, Side, Transport};

use super::cursor::Cursor;
use super::{
    Opening, amqp, cassandra, dhcp, dns, dubbo, elasticsearch, esp, ftp, gquic, grpc, http1, http2, ike,
    imap, irc, kafka, kerberos, ldap, memcached, mongodb, mqtt, mysql, nats, nntp, ntp, openvpn, oracle,
    pop3, postgres, rdp, redis, rtsp, sieve, sip, smb, smtp, snmp, socks, ssdp, ssh, stun, syslog, tds,
    telnet, thrift, websocket, wireguard, xmpp, zookeeper,
};
use crate::tls::Probe;

/// Recognises one protocol.
#[derive(Debug)]
pub(crate) struct Detector {
    /// What it recognises.
    pub(crate) protocol: Protocol,
    /// Whether that protocol can be read.
    pub(crate) form: Form,
    /// The transports that carry it.
    pub(crate) carriers: &'static [Transport],
    /// Where it is usually found: puts this probe first there.
    pub(crate) ports: &'static [u16],
    /// Answers yes only for bytes that no other protocol opens with, and no as soon as it cannot be.
    pub(crate) probe: fn(&Opening<'_>) -> Probe,
    /// A real opening, message by message.
    #[cfg_attr(not(test), expect(dead_code, reason = "every probe is tested against every other's opening"))]
    pub(crate) sample: &'static [(Side, &'static [u8])],
}

/// Whether a protocol's bytes can be read by who sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// They can.
    Readable,
    /// Encrypted, and not TLS.
    Encrypted,
}

impl Detector {
    /// Tells whether the transport carries the protocol.
    pub(crate) fn carried_by(&self, transport: Transport) -> bool {
        self.carriers.contains(&transport)
    }
}

/// Asks `rule` about bytes that begin with what it reads; `None` from it asks for more of them.
pub(crate) fn probe(bytes: &[u8], rule: impl Fn(&mut Cursor<'_>) -> Option<bool>) -> Probe {
    answer(rule(&mut Cursor::new(bytes)))
}

/// Turns "yes, no, not yet" into a probe's answer.
pub(crate) const fn answer(rule: Option<bool>) -> Probe {
    match rule {
        Some(true) => Probe::Yes,
        Some(false) => Probe::No,
        None => Probe::More,
    }
}

/// Only over TCP.
pub(crate) const TCP: &[Transport] = &[Transport::Tcp];
/// Only over UDP.
pub(crate) const UDP: &[Transport] = &[Transport::Udp];
/// Over either.
pub(crate) const BOTH: &[Transport] = &[Transport::Tcp, Transport::Udp];

/// Every detector, commonest first: the order costs time, not truth.
pub(crate) const DETECTORS: &[Detector] = &[
    http1::DETECTOR,
    http2::DETECTOR,
    grpc::DETECTOR,
    websocket::DETECTOR,
    postgres::DETECTOR,
    mysql::DETECTOR,
    redis::DETECTOR,
    dns::DETECTOR,
    kafka::DETECTOR,
    mongodb::DETECTOR,
    cassandra::DETECTOR,
    amqp::DETECTOR,
    nats::DETECTOR,
    mqtt::DETECTOR,
    memcached::DETECTOR,
    zookeeper::DETECTOR,
    elasticsearch::DETECTOR,
    dubbo::DETECTOR,
    thrift::DETECTOR,
    ldap::DETECTOR,
    smtp::DETECTOR,
    imap::DETECTOR,
    pop3::DETECTOR,
    ftp::DETECTOR,
    nntp::DETECTOR,
    sieve::DETECTOR,
    irc::DETECTOR,
    xmpp::DETECTOR,
    kerberos::DETECTOR,
    smb::DETECTOR,
    tds::DETECTOR,
    oracle::DETECTOR,
    sip::DETECTOR,
    rtsp::DETECTOR,
    stun::DETECTOR,
    syslog::DETECTOR,
    snmp::DETECTOR,
    ntp::DETECTOR,
    rdp::DETECTOR,
    telnet::DETECTOR,
    socks::DETECTOR,
    dhcp::DETECTOR,
    ssdp::DETECTOR,
    ssh::DETECTOR,
    wireguard::DETECTOR,
    openvpn::DETECTOR,
    esp::DETECTOR,
    ike::DETECTOR,
    gquic::DETECTOR,
];

/// Which detectors have a port with this lower half, a bit each.
static LIKELY: LazyLock<[u64; 256]> = LazyLock::new(|| {
    let mut likely = [0; 256];
    for (number, detector) in DETECTORS.iter().enumerate() {
        for [_, low] in detector.ports.iter().copied().map(u16::to_be_bytes) {
            if let Some(bits) = likely.get_mut(usize::from(low)) {
                *bits |= 1_u64 << number;
            }
        }
    }
    likely
});

/// Returns the detectors whose protocol is perhaps found at a port, a bit each; some others may be among them.
pub(super) fn likely(port: u16) -> u64 {
    let [_, low] = port.to_be_bytes();
    LIKELY.get(usize::from(low)).copied().unwrap_or_default()
}
