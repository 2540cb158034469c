//! One connection explained: what is declared for it, who decided, and what touches it.

use std::net::IpAddr;
use std::sync::Arc;

use flow::Endpoint;
use serde::Serialize;

use crate::expectation::expect;
use crate::lint::touching;
use crate::mesh::Mesh;
use crate::names::{self, End, Unclear};
use crate::parties;
use crate::policy::gateway::needs_sni;
use crate::report::{Citation, Expected, Party, PartyKind};

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
    /// Every step that decided, losers included: the client's side, then the server's.
    pub because: Arc<[Citation]>,
    /// How many of those steps are the client's side.
    #[serde(skip)]
    pub client_steps: usize,
    /// Ids of the static findings that touch this connection.
    pub lint: Vec<String>,
}

/// Explains what the declarations imply for one connection.
#[must_use]
pub fn explain(mesh: &Mesh, question: &Question) -> Explanation {
    let expectation = expect(mesh, question.from, question.to, question.sni.as_deref());
    let mut lint = touching(&expectation);
    let gateway = mesh.server_at(question.to.ip, question.to.port);
    let gateway = gateway.filter(|(pod, _)| question.sni.is_none() && pod.proxy == PartyKind::Gateway);
    if gateway.is_some_and(|(pod, port)| needs_sni(mesh, pod, port)) {
        lint.push("GW08");
    }
    Explanation {
        lint: lint.into_iter().map(str::to_owned).collect(),
        expected: Arc::unwrap_or_clone(expectation.expected),
        client: parties::client(mesh, question.from),
        server: parties::server(mesh, question.to),
        because: expectation.because,
        client_steps: expectation.client_steps,
    }
}

/// The most pods of one side that a question by name looks at; past it the answer says so.
pub const PODS: usize = 64;

/// The answer to a question by name: one outcome for all pairs of pods, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The client as it was understood: `namespace/name`, a host or an address.
    pub from: String,
    /// The destination as it was understood.
    pub to: String,
    /// The port that was asked for: a Service's, else a container's.
    pub port: u16,
    /// How many pods (or addresses) the client's name stands for.
    pub clients: usize,
    /// How many pods (or addresses) the destination's name stands for.
    pub servers: usize,
    /// What to know about how the names were taken.
    pub notes: Vec<String>,
    /// Every distinct answer, the one of most pairs first.
    pub outcomes: Vec<Outcome>,
}

/// One answer, and the pods that it holds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The client pods (`namespace/name`, else the address).
    pub client_pods: Vec<String>,
    /// The server pods.
    pub server_pods: Vec<String>,
    /// The port on the wire.
    pub wire_port: u16,
    /// For how many pairs of them it holds.
    pub pairs: usize,
    /// The answer for the first pair.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// Explains what the declarations imply between two names: see [`names`] for what a name can be. Every client pod is taken
/// with every server pod, and what differs is told apart.
///
/// # Errors
///
/// Returns why it is not clear who is meant, with the names that are near.
pub fn ask(
    mesh: &Mesh,
    from: &str,
    to: &str,
    port: Option<u16>,
    sni: Option<&str>,
) -> Result<Answer, Unclear> {
    let (from, clients) = names::clients(mesh, from)?;
    let destination = names::destinations(mesh, to, port)?;
    let mut answer = Answer {
        from,
        to: destination.name,
        port: destination.port,
        clients: clients.len(),
        servers: destination.ends.len(),
        notes: destination.notes,
        outcomes: Vec::new(),
    };
    for (side, ends) in [("client", &clients), ("server", &destination.ends)] {
        if ends.len() > PODS {
            answer.notes.push(format!("only the first {PODS} of {} {side} pods were looked at", ends.len()));
        }
    }
    for client in clients.iter().take(PODS) {
        for server in destination.ends.iter().take(PODS) {
            answer.add(mesh, client, server, sni);
        }
    }
    answer.outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.pairs));
    Ok(answer)
}

impl Answer {
    fn add(&mut self, mesh: &Mesh, client: &End, server: &End, sni: Option<&str>) {
        let question = Question {
            from: client.ip,
            to: server.endpoint(),
            sni: sni.map(str::to_owned).or_else(|| server.sni.clone()),
        };
        let explanation = explain(mesh, &question);
        let same = |other: &&mut Outcome| {
            let other_explanation = &other.explanation;
            other.wire_port == server.port
                && other_explanation.expected == explanation.expected
                && other_explanation.lint == explanation.lint
                && other_explanation.client.kind == explanation.client.kind
                && other_explanation.server.kind == explanation.server.kind
        };
        let Some(outcome) = self.outcomes.iter_mut().find(same) else {
            self.outcomes.push(Outcome {
                client_pods: vec![client.name.clone()],
                server_pods: vec![server.name.clone()],
                wire_port: server.port,
                pairs: 1,
                explanation,
            });
            return;
        };
        outcome.pairs = outcome.pairs.saturating_add(1);
        for (pods, name) in
            [(&mut outcome.client_pods, &client.name), (&mut outcome.server_pods, &server.name)]
        {
            if !pods.contains(name) {
                pods.push(name.clone());
            }
        }
    }
}
