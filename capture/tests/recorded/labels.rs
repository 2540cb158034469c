//! Captures whose truth is known, and the judgement of an answer by it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use flow::{AuthWord, Endpoint, Flow, Security, Transport};
use serde_json::Value;

/// The truth about one flow.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) transport: Transport,
    pub(crate) client: Endpoint,
    pub(crate) server: Endpoint,
    pub(crate) truth: Truth,
    /// Whether an intact capture shows the truth; absent where nobody has said so.
    pub(crate) decidable: Option<bool>,
    pub(crate) note: String,
}

/// What happened in a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    Plaintext,
    /// The client sent a certificate, in this handshake or in the one that it resumes.
    Certificate,
    /// The client sent one and was refused.
    Rejected,
    /// The server did not ask.
    Absent,
    /// The server asked, and the client has none.
    Declined,
    /// It resumes a session without a client certificate, asked for or not.
    ResumedWithout,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    Right,
    /// The class is right, and the client's authentication is told by the wrong word of the same meaning.
    WrongWord,
    Undecided,
    Wrong,
}

/// Reads the labels of a folder, by capture.
pub(crate) fn read(folder: &Path) -> BTreeMap<String, Vec<Label>> {
    let path = folder.join("labels.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut labels: BTreeMap<String, Vec<Label>> = BTreeMap::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).expect("a label");
        let word = |key: &str| value[key].as_str().unwrap_or_default();
        let end = |key: &str| {
            let address: SocketAddr = word(key).parse().expect("an address with its port");
            Endpoint { ip: address.ip(), port: address.port() }
        };
        let truth = match (word("class"), word("client_auth")) {
            ("plaintext", _) => Truth::Plaintext,
            (_, "certificate" | "resumed-from-mtls") => Truth::Certificate,
            (_, "rejected") => Truth::Rejected,
            (_, "none") => Truth::Absent,
            (_, "requested-empty") => Truth::Declined,
            (_, "resumed-from-tls") => Truth::ResumedWithout,
            other => panic!("an unknown truth: {other:?}"),
        };
        let transport = if word("transport") == "udp" { Transport::Udp } else { Transport::Tcp };
        labels.entry(word("pcap").to_owned()).or_default().push(Label {
            transport,
            client: end("client"),
            server: end("server"),
            truth,
            decidable: value["decidable"].as_bool(),
            note: word("note").to_owned(),
        });
    }
    labels
}

impl Label {
    /// Finds this label's flow, whichever end counts as the client there.
    pub(crate) fn flow_in<'a>(&self, flows: &'a [Flow]) -> Option<&'a Flow> {
        flows.iter().find(|flow| {
            flow.transport == self.transport
                && [(self.client, self.server), (self.server, self.client)]
                    .contains(&(flow.client, flow.server))
        })
    }

    /// Judges an answer. To decide nothing is never wrong, but TLS is a claim about a flow that had none.
    pub(crate) fn judge(&self, answer: &Security) -> Judgement {
        let word = match answer {
            Security::Unknown(_) => return Judgement::Undecided,
            Security::Plaintext(_) if self.truth == Truth::Plaintext => return Judgement::Right,
            Security::Plaintext(_) | Security::Opaque(_) => return Judgement::Wrong,
            Security::Tls(..) if self.truth == Truth::Plaintext => return Judgement::Wrong,
            Security::Tls(_, client) => client.word(),
        };
        match (word, self.truth) {
            (AuthWord::Unknown, _) => Judgement::Undecided,
            (AuthWord::Certificate, Truth::Certificate)
            | (AuthWord::Rejected, Truth::Rejected)
            | (AuthWord::Absent, Truth::Absent | Truth::ResumedWithout)
            | (AuthWord::Declined, Truth::Declined | Truth::ResumedWithout) => Judgement::Right,
            // Whoever misses the refusal knows less; whoever sees one that was not is wrong.
            (AuthWord::Rejected, Truth::Certificate) => Judgement::Wrong,
            (AuthWord::Certificate, Truth::Rejected)
            | (AuthWord::Absent | AuthWord::Declined, Truth::Absent | Truth::Declined) => {
                Judgement::WrongWord
            }
            (
                AuthWord::Certificate | AuthWord::Rejected | AuthWord::Absent | AuthWord::Declined,
                Truth::Plaintext
                | Truth::Certificate
                | Truth::Rejected
                | Truth::Absent
                | Truth::Declined
                | Truth::ResumedWithout,
            ) => Judgement::Wrong,
        }
    }
}
