//! What a server does by itself, beside answering, and how often it failed.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What a server does by itself, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// It sums up days that have ended, so that edges outlive their flows.
    SumDays,
    /// It has the store forget what is older than is kept.
    Forget,
    /// It reads files of declarations that changed.
    ReadDeclarations,
    /// It reads files of tokens and certificates that changed, and has a certificate that holds now.
    ReadCredentials,
}

impl Task {
    const ALL: [Self; 4] = [Self::SumDays, Self::Forget, Self::ReadDeclarations, Self::ReadCredentials];

    /// Its name in the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SumDays => "sum-days",
            Self::Forget => "forget",
            Self::ReadDeclarations => "read-declarations",
            Self::ReadCredentials => "read-credentials",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTask {
    task: &'static str,
}

/// How often each task failed since the program began. Copies count together.
#[derive(Debug, Clone)]
pub struct Upkeep(Family<OfTask, Counter>);

impl Default for Upkeep {
    /// Every task is there from the beginning: what appears with its first failure has no rise to be seen.
    fn default() -> Self {
        let failures = Family::<OfTask, Counter>::default();
        for task in Task::ALL {
            let _ = failures.get_or_create(&OfTask { task: task.name() });
        }
        Self(failures)
    }
}

impl Upkeep {
    /// Counts a failure.
    pub fn failed(&self, task: Task) {
        self.0.get_or_create(&OfTask { task: task.name() }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("upkeep_failures", "What the server does by itself, and could not", self.0.clone());
    }
}
