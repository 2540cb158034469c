//! The answer to "what is declared for this connection, and who says so?".

use std::net::IpAddr;

use flow::Endpoint;
use serde::Serialize;

use crate::expectation::expect;
use crate::mesh::Mesh;
use crate::report::{Citation, ClientTls, Expected, IstioMtls, Party, PartyKind, ServerMode};

/// One connection, asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The client's address.
    pub from: IpAddr,
    /// The destination, as a capture would show it.
    pub to: Endpoint,
    /// The SNI; absent where it is not known.
    pub sni: Option<String>,
}

/// What is declared for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The judged keys.
    #[serde(flatten)]
    pub expected: Expected,
    /// The reasoning, in the order in which Istio decides, losers included.
    pub because: Vec<Citation>,
    /// Ids of the findings that touch this connection.
    pub lint: Vec<String>,
    /// Who opens it.
    pub client: Party,
    /// Whom it reaches.
    pub server: Party,
}

/// Explains a connection.
#[must_use]
pub fn explain(mesh: &Mesh, question: &Question) -> Explanation {
    let answer = expect(mesh, question.from, question.to, question.sni.as_deref());
    Explanation {
        lint: touching(&answer.expected, &answer.client).into_iter().map(str::to_owned).collect(),
        expected: answer.expected,
        because: answer.because,
        client: answer.client,
        server: answer.server,
    }
}

/// Names the contradictions between the two sides of this very connection.
fn touching(expected: &Expected, client: &Party) -> Vec<&'static str> {
    let mut ids = Vec::new();
    let in_mesh = matches!(client.kind, PartyKind::Sidecar | PartyKind::Gateway);
    let no_tls = matches!(expected.client_tls, None | Some(ClientTls::Disable));
    let by_rule = expected.client_tls_from.contains('/');
    let http = matches!(expected.protocol.as_deref(), Some("HTTP" | "HTTP2" | "GRPC" | "GRPC-Web"));
    if in_mesh && no_tls && expected.server_mode == Some(ServerMode::Strict) {
        ids.push("XC01");
    }
    if expected.client_tls == Some(ClientTls::IstioMutual)
        && by_rule
        && expected.istio_mtls == IstioMtls::Unterminated
    {
        ids.push("XC02");
    }
    let strict = expected.server_mode == Some(ServerMode::Strict);
    match expected.client_tls {
        Some(ClientTls::Simple) if expected.server_mode.is_some() && (http || strict) => ids.push("XC03"),
        Some(ClientTls::Mutual) if expected.server_mode.is_some() && http && !strict => ids.push("XC03"),
        Some(ClientTls::Simple | ClientTls::Mutual | ClientTls::Disable | ClientTls::IstioMutual) | None => {}
    }
    ids
}
