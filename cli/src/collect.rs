//! What agents deliver, judged and kept: the server's half of shipping.

use std::sync::Arc;

use analyzer::audit::Auditor;
use api::{CollectError, Collector};
use flow::delivery::Heading;
use flow::{Coverage, Flow};
use store::{Batch, Store};
use tokio::sync::Semaphore;

/// How many deliveries are judged and written at a time; more are asked to come again.
const UNDER_WAY: usize = 8;

/// Judges deliveries by the declarations and records them.
pub(crate) struct Intake {
    auditor: Arc<Auditor>,
    store: Arc<dyn Store>,
    permits: Semaphore,
}

impl Intake {
    pub(crate) fn new(auditor: Arc<Auditor>, store: Arc<dyn Store>) -> Self {
        Self { auditor, store, permits: Semaphore::new(UNDER_WAY) }
    }

    async fn keep(&self, batch: Batch) -> Result<(), CollectError> {
        self.store.record(batch).await.map_err(|error| {
            tracing::error!(%error, "a delivery could not be kept");
            CollectError::Unavailable
        })
    }
}

#[async_trait::async_trait]
impl Collector for Intake {
    async fn collect(&self, heading: Heading, flows: Vec<Flow>) -> Result<(), CollectError> {
        let _permit = self.permits.try_acquire().map_err(|_| CollectError::Busy)?;
        let auditor = Arc::clone(&self.auditor);
        let judged =
            tokio::task::spawn_blocking(move || flows.iter().map(|flow| auditor.judge(flow)).collect());
        let flows = judged.await.map_err(|error| {
            tracing::error!(%error, "a delivery could not be judged");
            CollectError::Unavailable
        })?;
        let (source, spool) = (heading.source(), heading.spool());
        self.keep(Batch { source, flows, coverage: Some(heading.coverage) }).await?;
        if heading.undelivered > 0 {
            let lost = Coverage { undelivered: heading.undelivered, ..Coverage::default() };
            self.keep(Batch { source: spool, flows: Vec::new(), coverage: Some(lost) }).await?;
        }
        Ok(())
    }
}
