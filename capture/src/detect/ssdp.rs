//! SSDP (UPnP Device Architecture, section 1): HTTP-like requests and answers in datagrams.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, UDP, answer};
use super::text::{first_line, mentions};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Ssdp,
    form: Form::Readable,
    carriers: UDP,
    ports: &[1900],
    probe,
    sample: &[(
        Side::Client,
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n\r\n",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = if opening.client.is_empty() { opening.server } else { opening.client };
    let asks = |text: &[u8]| text == b"M-SEARCH * HTTP/1.1" || text == b"NOTIFY * HTTP/1.1";
    let answers = |text: &[u8]| text.starts_with(b"HTTP/1.1 200") && mentions(bytes, b"\nusn:");
    answer(first_line(bytes, |text| asks(text) || answers(text)))
}
