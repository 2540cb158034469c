//! The leaf of a cleartext Certificate message (RFC 5246 section 7.4.2) as a [`flow::Certificate`].

use flow::{Certificate, Timestamp};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::cursor::Cursor;

/// Most alternative names kept of one certificate.
const MAX_NAMES: usize = 64;
/// Most characters kept of a name; SPIFFE allows 2048 bytes (SPIFFE-ID section 2.3).
const MAX_TEXT: usize = 2048;
/// Most certificates of a chain counted.
const MAX_CHAIN: usize = 32;

/// The first certificate of a Certificate message, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Leaf {
    pub(super) der: Vec<u8>,
    /// How many certificates the message holds, up to [`MAX_CHAIN`].
    pub(super) chain: usize,
}

impl Leaf {
    /// Takes it from a message's body; `None` when the list is empty or its first entry is cut.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let mut list = Cursor(Cursor(body).vector24()?);
        let first = list.vector24()?;
        let mut chain: usize = 1;
        while chain < MAX_CHAIN && list.vector24().is_some() {
            chain = chain.saturating_add(1);
        }
        Some(Self { der: first.to_vec(), chain })
    }

    /// Reads it; `None` when it does not parse.
    pub(super) fn read(&self) -> Option<Certificate> {
        certificate(&self.der, self.chain)
    }
}

fn certificate(der: &[u8], chain: usize) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut sans = Vec::new();
    let mut spiffe_id = None;
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        sans.extend(names.value.general_names.iter().filter_map(name).take(MAX_NAMES));
        let uris = names
            .value
            .general_names
            .iter()
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
        spiffe_id = uris.into_iter().find(|uri| uri.starts_with("spiffe://")).map(text);
    }
    let time = |seconds: i64| seconds.checked_mul(1_000_000_000).map(Timestamp::from_nanos);
    Some(Certificate {
        subject: text(&parsed.subject().to_string()),
        issuer: text(&parsed.issuer().to_string()),
        sans,
        spiffe_id,
        not_before: time(parsed.validity().not_before.timestamp()),
        not_after: time(parsed.validity().not_after.timestamp()),
        key: key(&parsed),
        chain,
    })
}

/// Text from the wire, as long as it may be; control characters are escaped, so that nothing runs in a terminal.
fn text(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars().take(MAX_TEXT) {
        if character.is_control() {
            kept.extend(character.escape_default());
        } else {
            kept.push(character);
        }
    }
    kept
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some(format!("dns:{}", text(dns))),
        GeneralName::URI(uri) => Some(format!("uri:{}", text(uri))),
        GeneralName::RFC822Name(address) => Some(format!("email:{}", text(address))),
        GeneralName::IPAddress(bytes) => {
            let ip = match bytes.len() {
                4 => std::net::IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                16 => std::net::IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
                _ => return None,
            };
            Some(format!("ip:{ip}"))
        }
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let info = certificate.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("rsa-{}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => format!("ecdsa-p{}", point.key_size()),
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "ed25519".to_owned(),
            "1.3.101.113" => "ed448".to_owned(),
            oid => oid.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(body: &[u8]) -> Option<Certificate> {
        Leaf::of(body)?.read()
    }

    #[test]
    fn text_from_the_wire_is_short_and_harmless() {
        assert_eq!(text("spiffe://cluster.local/ns/shop/sa/cart"), "spiffe://cluster.local/ns/shop/sa/cart");
        assert_eq!(text("CN=Bücher\u{1b}[2J"), "CN=Bücher\\u{1b}[2J");
        assert_eq!(text(&"a".repeat(5000)).len(), MAX_TEXT);
    }

    #[test]
    fn an_empty_list_has_no_leaf() {
        assert_eq!(leaf(&[0, 0, 0]), None);
        assert_eq!(leaf(&[]), None);
        assert_eq!(leaf(&[0, 0, 8, 0, 0, 5, 0x30, 0x82, 0xff, 0xff, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let length = u8::try_from(bytes.len()).unwrap();
            let _ = leaf(&[&[0, 0, length.saturating_add(3), 0, 0, length][..], &bytes].concat());
        }
    }
}
