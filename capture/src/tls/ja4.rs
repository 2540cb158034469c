//! The client's JA4 fingerprint, after FoxIO's public specification of JA4 (TLS client; the BSD-3 part of JA4+).

use sha2::{Digest as _, Sha256};

use super::hello::{ClientHello, extension, is_grease};

/// What carries the hello: JA4's first letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A TCP stream.
    Tcp,
    /// QUIC.
    Quic,
    /// DTLS.
    Dtls,
}

/// Computes the fingerprint; `None` when the hello was not read to its end.
pub(crate) fn fingerprint(hello: &ClientHello, carrier: Carrier) -> Option<String> {
    if !hello.whole {
        return None;
    }
    let letter = match carrier {
        Carrier::Tcp => 't',
        Carrier::Quic => 'q',
        Carrier::Dtls => 'd',
    };
    let mut suites = plain(hello.suites());
    let mut extensions = plain(hello.extensions().map(|(kind, _)| kind));
    let counts = format!("{:02}{:02}", suites.len().min(99), extensions.len().min(99));
    let name = if hello.offers(extension::SERVER_NAME) { 'd' } else { 'i' };
    suites.sort_unstable();
    extensions.retain(|kind| *kind != extension::SERVER_NAME && *kind != extension::ALPN);
    extensions.sort_unstable();
    let mut second = list(&extensions);
    let signatures = plain(hello.signature_algorithms());
    if !signatures.is_empty() {
        second.push('_');
        second.push_str(&list(&signatures));
    }
    let (version, alpn) = (version(hello), alpn(hello));
    let extensions_hash = if extensions.is_empty() { hash("") } else { hash(&second) };
    Some(format!("{letter}{version}{name}{counts}{alpn}_{}_{extensions_hash}", hash(&list(&suites))))
}

fn plain(numbers: impl Iterator<Item = u16>) -> Vec<u16> {
    numbers.filter(|number| !is_grease(*number)).collect()
}

fn version(hello: &ClientHello) -> &'static str {
    let highest = hello.supported_versions().filter(|version| !is_grease(*version));
    // DTLS numbers count down.
    let offered = if hello.legacy_version >= 0xfe00 { highest.min() } else { highest.max() };
    match offered.unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the first protocol offered; the outer digits of its hex form when they are no letters
/// or digits.
fn alpn(hello: &ClientHello) -> String {
    let Some((first, last)) = hello.protocols().next().and_then(|name| Some((name.first()?, name.last()?)))
    else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        format!("{}{}", char::from(*first), char::from(*last))
    } else {
        format!("{:x}{:x}", first >> 4, last & 0x0f)
    }
}

fn list(numbers: &[u16]) -> String {
    numbers.iter().map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(",")
}

/// The first twelve hex digits of SHA-256, or zeros for an empty list.
fn hash(text: &str) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_hello_has_its_published_fingerprint() {
        let numbers =
            |numbers: &[u16]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
        let vector = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let suites = numbers(&[
            0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
            0x009c, 0x009d, 0x002f, 0x0035,
        ]);
        let extensions = [
            0x1a1a_u16, 0x0000, 0x0010, 0x0005, 0x000a, 0x000b, 0x000d, 0x0012, 0x0015, 0x0017, 0x001b,
            0x0023, 0x002b, 0x002d, 0x0033, 0x4469, 0xff01,
        ];
        let extensions = extensions.map(|kind| {
            let body = match kind {
                extension::ALPN => vector(b"\x02h2"),
                extension::SUPPORTED_VERSIONS => [&[6], &*numbers(&[0x2a2a, 0x0304, 0x0303])].concat(),
                extension::SIGNATURE_ALGORITHMS => {
                    vector(&numbers(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]))
                }
                _ => Vec::new(),
            };
            [&kind.to_be_bytes(), &*vector(&body)].concat()
        });
        let body =
            [&[3, 3], &[7; 32][..], &[0], &vector(&suites), &[1, 0], &vector(&extensions.concat())].concat();
        let hello = ClientHello::read(body.clone(), false).unwrap();
        let cut = ClientHello::read(body[..body.len() - 3].to_vec(), false).unwrap();
        assert_eq!(
            fingerprint(&hello, Carrier::Tcp).as_deref(),
            Some("t13d1516h2_8daaf6152771_e5627efa2ab1")
        );
        assert_eq!(fingerprint(&cut, Carrier::Tcp), None);
    }
}
