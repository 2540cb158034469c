//! Observed findings: one file an id, all of them listed in [`RULES`].
//!
//! In: a [`Case`], one flow beside what was declared for it. Out: a [`Violation`]. In which order the rules are asked, and
//! what the answers make of the flow, is the verdict's business.

pub(crate) mod gw08_no_sni;
pub(crate) mod ob01_plaintext_under_strict;
pub(crate) mod ob02_plaintext_refused;
pub(crate) mod ob03_certificate_missing;
pub(crate) mod ob04_downgrade;
pub(crate) mod ob05_migration_blocker;
pub(crate) mod ob06_unterminated;
pub(crate) mod ob07_tls_to_http_port;
pub(crate) mod ob08_plaintext_to_tls_port;
pub(crate) mod ob09_gateway_refuses;
pub(crate) mod ob10_gateway_certificate_missing;
pub(crate) mod ob11_double_tls;
pub(crate) mod ob12_version_below_minimum;
pub(crate) mod ob13_cipher_not_listed;
pub(crate) mod ob14_identity_mismatch;
pub(crate) mod ob15_certificate_validity;
pub(crate) mod ob16_stale_destination;
pub(crate) mod ob17_ambient_not_captured;
pub(crate) mod ob18_egress_gateway_bypassed;
pub(crate) mod ob19_plaintext_leaves_the_mesh;
pub(crate) mod ob20_infrastructure_port;
pub(crate) mod ob21_older_than_the_policy;
pub(crate) mod ob22_unclassified;
pub(crate) mod ob23_registry_only_bypassed;

pub(crate) mod pn02_server_spoke_first;

mod advised;
mod case;
mod remedy;
mod restart;
mod termination;

use std::sync::Arc;

use flow::Proof;

use crate::report::{Certainty, Citation, Remedy, Severity, Violation};

pub(crate) use advised::Advised;
pub use case::{Case, Since};

/// Every observed finding, by id.
pub const RULES: &[&Rule] = &[
    &ob01_plaintext_under_strict::RULE,
    &ob02_plaintext_refused::RULE,
    &ob03_certificate_missing::RULE,
    &ob04_downgrade::RULE,
    &ob05_migration_blocker::RULE,
    &ob06_unterminated::RULE,
    &ob07_tls_to_http_port::RULE,
    &ob08_plaintext_to_tls_port::RULE,
    &ob09_gateway_refuses::RULE,
    &ob10_gateway_certificate_missing::RULE,
    &ob11_double_tls::RULE,
    &ob12_version_below_minimum::RULE,
    &ob13_cipher_not_listed::RULE,
    &ob14_identity_mismatch::RULE,
    &ob15_certificate_validity::RULE,
    &ob16_stale_destination::RULE,
    &ob17_ambient_not_captured::RULE,
    &ob18_egress_gateway_bypassed::RULE,
    &ob19_plaintext_leaves_the_mesh::RULE,
    &ob20_infrastructure_port::RULE,
    &ob21_older_than_the_policy::RULE,
    &ob22_unclassified::RULE,
    &ob23_registry_only_bypassed::RULE,
];

/// Findings of the declarations that the wire shows as well, by id.
pub const SEEN: &[&Rule] = &[&gw08_no_sni::RULE, &pn02_server_spoke_first::RULE];

/// One id of the catalogue.
#[derive(Debug)]
pub struct Rule {
    /// The id, such as `OB01`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it says, in one line.
    pub title: &'static str,
    /// Where the rule that is broken is laid down.
    pub source: &'static str,
    /// Its page, Markdown: what it means, how to see it, why it happens, how to mend it.
    pub page: &'static str,
    rests_on: RestsOn,
    breach: fn(&Case<'_>) -> Option<Breach>,
    advice: fn(&Case<'_>, &Breach) -> Advice,
}

/// What a finding is as certain as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RestsOn {
    /// The class: as certain as its proof.
    Class,
    /// That it is TLS: a weak proof of the client's certificate does not weaken it. No proof at all does: the handshake
    /// told less than it should have.
    Tls,
    /// What stands in the clear whatever the class: addresses, names, versions, certificates.
    Reading,
}

/// What is wrong with one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Breach {
    /// The resource that causes it; absent where none does.
    cause: Option<String>,
    /// What happened, in words that follow the names of the parties.
    what: String,
    /// What is cited after the steps that led to the expectation.
    also: Vec<Citation>,
    /// Whether it is only likely, however well the class is proved.
    doubtful: bool,
}

impl Breach {
    fn new(cause: Option<String>, what: impl Into<String>) -> Self {
        Self { cause, what: what.into(), also: Vec::new(), doubtful: false }
    }

    fn citing(mut self, also: Vec<Citation>) -> Self {
        self.also = also;
        self
    }

    fn doubtful(mut self, doubtful: bool) -> Self {
        self.doubtful = doubtful;
        self
    }
}

/// What mends it. Of the flow it depends on what [`advised`] keeps beside it and on nothing else.
#[derive(Debug, Clone)]
struct Advice {
    summary: String,
    change: Option<Change>,
    /// Values of the chart.
    values: Option<String>,
}

/// YAML, and the resource that it changes or adds.
#[derive(Debug, Clone)]
struct Change {
    resource: String,
    file: Option<String>,
    line: Option<u32>,
    yaml: String,
}

impl Advice {
    fn new(summary: impl Into<String>, change: Option<Change>) -> Self {
        Self { summary: summary.into(), change, values: None }
    }

    /// For what the declarations are not to blame for: the agents see more with these values of their chart.
    fn watching(self, values: &str) -> Self {
        Self { values: Some(values.to_owned()), ..self }
    }
}

impl Rule {
    /// Judges one flow by this rule.
    #[must_use]
    pub(crate) fn judge(&self, case: &Case<'_>) -> Option<Arc<Violation>> {
        let breach = (self.breach)(case)?;
        Some(match case.advised {
            Some(advised) => advised.of(self, case, breach),
            None => Arc::new(self.violation(case, breach)),
        })
    }

    fn violation(&self, case: &Case<'_>, breach: Breach) -> Violation {
        let advice = (self.advice)(case, &breach);
        let port = case.flow.server.port;
        // Of a leg that stays inside the pod nothing is declared: what would be, had it left, is no reason.
        let because = match (case.flow.is_local(), breach.also.is_empty()) {
            (true, _) => breach.also.into(),
            (false, true) => Arc::clone(&case.expectation.because),
            (false, false) => [&*case.expectation.because, &breach.also].concat().into(),
        };
        Violation {
            id: self.id.to_owned(),
            severity: self.severity,
            certainty: if breach.doubtful { Certainty::Likely } else { self.certainty(case) },
            message: [
                &*case.client.name(),
                " to ",
                &case.server.name(),
                " port ",
                &port.to_string(),
                ": ",
                &breach.what,
            ]
            .concat(),
            remedy: placed(advice, breach.cause.as_deref(), &because),
            cause: breach.cause,
            because,
        }
    }

    fn certainty(&self, case: &Case<'_>) -> Certainty {
        let certain = match (self.rests_on, case.flow.security.evidence().proof) {
            (RestsOn::Reading, _) | (_, Proof::Wire | Proof::Exact) => true,
            (RestsOn::Tls, Proof::Strong | Proof::Linked | Proof::Inferred) => true,
            (RestsOn::Tls, Proof::None) => false,
            (RestsOn::Class, Proof::Strong | Proof::Linked | Proof::Inferred | Proof::None) => false,
        };
        if certain { Certainty::Certain } else { Certainty::Likely }
    }
}

/// A remedy stands where its change is made, else where the cause was read.
fn placed(advice: Advice, cause: Option<&str>, because: &[Citation]) -> Remedy {
    match advice.change {
        Some(change) => Remedy {
            summary: advice.summary,
            resource: Some(change.resource),
            file: change.file,
            line: change.line,
            yaml: Some(change.yaml),
            values: advice.values,
        },
        None => {
            let cited = cause.and_then(|cause| because.iter().rfind(|citation| citation.resource == cause));
            Remedy {
                summary: advice.summary,
                resource: cause.map(str::to_owned),
                file: cited.and_then(|citation| citation.file.as_deref().map(str::to_owned)),
                line: cited.and_then(|citation| citation.line),
                yaml: None,
                values: advice.values,
            }
        }
    }
}
