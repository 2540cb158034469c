//! One connection explained: what is declared for it, who decided, and what touches it.

use std::net::IpAddr;

use flow::Endpoint;
use serde::Serialize;

use crate::expectation::expect;
use crate::lint::touching;
use crate::mesh::Mesh;
use crate::parties;
use crate::report::{Citation, Expected, Party};

/// Which connection is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The client's address.
    pub from: IpAddr,
    /// The destination on the wire.
    pub to: Endpoint,
    /// The SNI of its ClientHello; absent where it sends none, or it does not matter.
    pub sni: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What is declared.
    #[serde(flatten)]
    pub expected: Expected,
    /// Who opens the connection.
    pub client: Party,
    /// Whom it reaches.
    pub server: Party,
    /// Every step that decided, losers included.
    pub because: Vec<Citation>,
    /// Ids of the static findings that touch this connection.
    pub lint: Vec<String>,
}

/// Explains what the declarations imply for one connection.
#[must_use]
pub fn explain(mesh: &Mesh, question: &Question) -> Explanation {
    let expectation = expect(mesh, question.from, question.to, question.sni.as_deref());
    Explanation {
        lint: touching(&expectation).into_iter().map(str::to_owned).collect(),
        expected: expectation.expected,
        client: parties::client(mesh, question.from),
        server: parties::server(mesh, question.to),
        because: expectation.because,
    }
}
