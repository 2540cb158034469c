//! Flows as agents write them, read from the text as it comes in: however a text says it, the answer is that of its value.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::fmt::Write as _;

use flow::Flow;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

fn certificate() -> impl Strategy<Value = Value> {
    (any::<String>(), vec(any::<String>(), 0..3), proptest::option::of(any::<String>()), 0..5_u8).prop_map(
        |(subject, sans, spiffe, chain)| {
            json!({ "subject": subject, "issuer": "", "sans": sans, "spiffe_id": spiffe, "chain": chain,
                "not_before": "2026-01-02T03:04:05.000000006Z", "not_after": null, "key": "rsa-2048" })
        },
    )
}

fn tls() -> impl Strategy<Value = Value> {
    let text = || proptest::option::of(any::<String>());
    let version = proptest::option::of(select(vec!["1.2", "1.3", "dtls1.2"]));
    let certificate = || proptest::option::of(certificate());
    (
        version,
        (text(), text(), text(), text()),
        vec(any::<String>(), 0..3),
        any::<[bool; 3]>(),
        certificate(),
        certificate(),
    )
        .prop_map(|(version, (sni, alpn, cipher, ja4), offered, [ech, early, retry], client, server)| {
            json!({ "version": version, "quic": null, "sni": sni, "alpn_offered": offered, "alpn": alpn, "cipher": cipher,
                "group": "x25519", "resumed": null, "outcome": "established", "client_auth": "absent", "ja4": ja4, "ech": ech,
                "early_data": early, "hello_retry": retry, "client_certificate": client, "server_certificate": server })
        })
}

/// A flow as a value.
fn told() -> impl Strategy<Value = Value> {
    let ends = select(vec![("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "::ffff:10.0.0.1")]);
    let tunnel = vec(select(vec!["gre", "vlan:12", "vxlan:4096", "mpls:3"]), 0..3);
    (
        proptest::option::of(tls()),
        ends,
        any::<(u128, u16, u64, u64, bool)>(),
        vec(any::<String>(), 0..3),
        tunnel,
        proptest::option::of(any::<u64>()),
        select(vec!["fin", "reset", "open"]),
    )
        .prop_map(|(tls, (client, server), (id, port, packets, bytes, from_start), seen_at, tunnel, hands, close)| {
            let (class, protocol) = if tls.is_some() { ("tls", None) } else { ("plaintext", Some("http/1.1")) };
            json!({ "id": format!("{id:032x}"), "start": "2026-11-27T14:15:16.123456789Z", "end": "2026-11-27T14:15:17Z",
                "transport": "tcp", "client": { "ip": client, "port": port }, "server": { "ip": server, "port": 443 },
                "community_id": "1:", "tcp_handshake": hands.map(|hands| format!("{hands:016x}")), "tunnel": tunnel,
                "seen_at": seen_at, "class": class, "proof": "wire", "reason": null, "protocol": protocol, "upgrade": null,
                "tls": tls, "from_start": from_start, "close": close, "packets": { "client": packets, "server": 4 },
                "bytes": { "client": bytes, "server": 0 } })
        })
}

/// What may stand where something else is expected.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(vec![0.0, -0.0, 1.0, 1.5, 65_535.0, 65_536.0, 1e300]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec![
            "tls",
            "mtls",
            "fin",
            "http/1.1",
            "",
            "\"",
            "\\u0041",
            "\u{1f512}",
            "192.0.2.1",
            "0",
            "vlan:5000"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((any::<String>(), inner), 0..3)
                .prop_map(|pairs| pairs.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Every place in a value, by its pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{number}"), found);
            }
        }
        Value::Object(members) => {
            for (name, item) in members {
                places(item, &format!("{at}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Draws numbers one after the other, the same ones again from the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// Writes a value as others than serde may: members in any order, members that nobody knows, room between the signs, and characters of words
/// and names by their numbers, the large ones as surrogates.
fn write(value: &Value, dice: &mut Dice, out: &mut String) {
    let room = |dice: &mut Dice, out: &mut String| out.push_str(["", "", " ", "\t", "\r\n"][dice.below(5)]);
    room(dice, out);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(text) => word(text, dice, out),
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                write(item, dice, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut written = vec![UNKNOWN.to_owned()];
            for (name, item) in members {
                let mut member = String::new();
                word(name, dice, &mut member);
                room(dice, &mut member);
                member.push(':');
                write(item, dice, &mut member);
                written.insert(dice.below(written.len() + 1), member);
            }
            out.push('{');
            room(dice, out);
            out.push_str(&written.join(",\n"));
            out.push('}');
        }
    }
    room(dice, out);
}

/// A member that nobody knows.
const UNKNOWN: &str = r#""of another \"version\"":[{"a\ud83d\udd12":["\\\"",1e9,null]},-3,"}"]"#;

fn word(text: &str, dice: &mut Dice, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must = matches!(character, '"' | '\\' | '\0'..='\u{1f}');
        let short = "\"\\/\u{8}\u{c}\n\r\t".chars().position(|one| one == character);
        match (dice.below(4), short.and_then(|at| "\"\\/bfnrt".chars().nth(at))) {
            (0 | 1, Some(short)) => {
                out.push('\\');
                out.push(short);
            }
            (number, _) if must || number == 0 => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").unwrap();
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Reads a text in every way in which it may come: at once, and bit by bit.
fn read(text: &str) -> Option<Flow> {
    let at_once = serde_json::from_str::<Flow>(text).ok();
    assert_eq!(serde_json::from_slice::<Flow>(text.as_bytes()).ok(), at_once, "{text}");
    assert_eq!(serde_json::from_reader::<_, Flow>(text.as_bytes()).ok(), at_once, "{text}");
    at_once
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flow_reads_the_same_however_its_words_are_written(told in told(), seed in any::<u64>()) {
        let flow: Flow = serde_json::from_value(told.clone()).unwrap();
        let mut text = String::new();
        write(&told, &mut Dice(seed), &mut text);
        prop_assert_eq!(read(&text), Some(flow.clone()), "{}", text);
        // Written by our own hand and read again it is the same once more.
        let mut line = Vec::new();
        flow.write_json(&mut line);
        prop_assert_eq!(read(&String::from_utf8(line).unwrap()), Some(flow));
    }

    #[test]
    fn whatever_stands_in_the_place_of_something_else_is_taken_or_refused_as_its_value_is(
        mut told in told(), place in any::<Index>(), other in anything(), seed in any::<u64>()
    ) {
        let mut found = Vec::new();
        places(&told, "", &mut found);
        let place: &String = place.get(&found);
        *told.pointer_mut(place).unwrap() = other;
        let mut text = String::new();
        write(&told, &mut Dice(seed), &mut text);
        prop_assert_eq!(read(&text), serde_json::from_value::<Flow>(told).ok(), "{}", text);
    }
}

proptest! {
    // At every byte: few texts are enough.
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_that_is_cut_off_is_no_flow(told in told(), seed in any::<u64>()) {
        let mut text = String::new();
        write(&told, &mut Dice(seed), &mut text);
        let text = text.trim_end();
        for end in 0..text.len() {
            prop_assert!(serde_json::from_slice::<Flow>(&text.as_bytes()[..end]).is_err(), "{} of {}", end, text);
        }
    }
}

/// What no value can show.
#[test]
fn what_is_no_text_is_refused_where_a_word_stands() {
    let line = r#"{"id":"00000000000000000000000000000007","start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01Z","transport":"tcp",
        "client":{"ip":"192.0.2.1","port":1},"server":{"ip":"192.0.2.2","port":2},"tunnel":[],"seen_at":["eth0"],"class":"plaintext",
        "proof":"wire","reason":null,"protocol":null,"upgrade":null,"tls":null,"from_start":true,"close":"fin",
        "packets":{"client":1,"server":2},"bytes":{"client":3,"server":4}}"#;
    assert!(read(line).is_some());
    for (of, odd) in [
        // Half of a pair, the halves the wrong way round, and escapes that there are none of.
        ("eth0", r"\ud83d"),
        ("eth0", r"\udd12\ud83d"),
        ("eth0", r"\ud83d\u0041"),
        ("fin", r"f\xin"),
        ("fin", r"f\u00"),
        ("fin", "f\u{1}in"),
        (r#""fin""#, "fin"),
        // Twice the same.
        (r#""close":"fin""#, r#""close":"fin","close":"fin""#),
        // Numbers that JSON has none of.
        (r#""port":1"#, r#""port":01"#),
        (r#""port":1"#, r#""port":+1"#),
        (r#""port":1"#, r#""port":0x1"#),
        (r#""port":1"#, r#""port":1."#),
        (r#""port":1"#, r#""port":NaN"#),
        (r#""client":3"#, r#""client":18446744073709551616"#),
    ] {
        let text = line.replacen(of, odd, 1);
        assert_ne!(text, line);
        assert_eq!(read(&text), None, "{text}");
    }
    // And bytes that are no text at all.
    let mut bytes = line.as_bytes().to_vec();
    let at = line.find("eth0").unwrap();
    bytes[at] = 0xff;
    assert!(serde_json::from_slice::<Flow>(&bytes).is_err());
}
