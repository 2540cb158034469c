//! `POST /api/v1/ingest`: what agents deliver.

use std::io::{BufRead, BufReader, Read as _};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use flate2::read::GzDecoder;
use flow::Flow;
use flow::delivery::{Heading, LIKE, LONGEST_NAME, Like, VERSION, is_name};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::error::{ApiError, Problem};
use crate::{Bound, State as App};

/// How many deliveries are taken at a time, from the first byte that is read of one until it is kept: so many times
/// [`DELIVERY`], and what is in it, is held in memory at most. More are asked to come again.
pub(crate) const UNDER_WAY: usize = 8;

/// The longest delivery, in bytes as it is sent.
pub(crate) const DELIVERY: usize = 16 * 1024 * 1024;

/// The longest delivery, in bytes of JSON; also if each of its flows were there whole.
const DELIVERY_JSON: usize = 64 * 1024 * 1024;

/// Judges what agents saw and keeps it.
#[async_trait::async_trait]
pub trait Collector: Send + Sync {
    /// Judges and keeps one delivery, all of it or nothing. The same delivery again changes nothing.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or no policies are known yet; why is in the log.
    async fn collect(&self, heading: Heading, flows: Vec<Flow>) -> Result<(), Unavailable>;

    /// Tells what was found, since this process began, that other collectors had recorded at the same moment.
    fn swept(&self) -> Swept {
        Swept::default()
    }
}

/// What looks for flows that several collectors recorded at the same moment came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flows that were joined with another one, or brought back to counting once.
    pub mended: u64,
    /// Looks that failed, because the store did not answer.
    pub failed: u64,
    /// Reports of flows that were joined with no other, because too many had the same opening or the same handshake.
    pub crowded: u64,
}

/// A delivery was not kept, because the store does not answer or no policies are known yet; the agent sends it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// What was kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// The delivery's number.
    sequence: u64,
    /// How many reports of flows are kept now.
    flows: u64,
}

/// Takes a delivery of an agent: lines of JSON, a heading first, then one flow each; gzip or plain. A flow may be said by the number of an earlier
/// one (`like`) and what it does not share with that.
#[utoipa::path(post, path = "/ingest", request_body(content = String, content_type = "application/x-ndjson"), responses(
    (status = 200, description = "Kept: the agent may forget it", body = Receipt),
    (status = 401, description = "Neither the token nor a verified certificate", body = Problem),
    (status = 403, description = "The certificate is another agent's", body = Problem),
    (status = 409, description = "This server collects nothing", body = Problem),
    (status = 413, description = "Too long", body = Problem),
    (status = 415, description = "Neither plain nor gzip", body = Problem),
    (status = 422, description = "It cannot be read, and never will be", body = Problem),
    (status = 429, description = "Too much is under way: come again after Retry-After seconds", body = Problem),
    (status = 501, description = "A later version's form: upgrade this server, and come again", body = Problem),
    (status = 503, description = "The store does not answer: come again", body = Problem)))]
pub(crate) async fn ingest(State(app): State<App>, request: Request) -> Result<Json<Receipt>, ApiError> {
    let taken = take(&app, request).await;
    app.metrics.delivery(match &taken {
        Ok(_) => "kept",
        Err(ApiError::Busy) => "busy",
        Err(ApiError::Unavailable | ApiError::NewerDelivery { .. }) => "unavailable",
        Err(_) => "refused",
    });
    taken
}

async fn take(app: &App, mut request: Request) -> Result<Json<Receipt>, ApiError> {
    if app.collector.is_none() {
        return Err(ApiError::NoCollector);
    }
    let gzip = match request.headers().get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => return Err(ApiError::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
    };
    let bound = request.extensions_mut().remove::<Bound>();
    // Before the body is read: what waits for its turn waits with the agent, not in this process's memory.
    let _permit = app.under_way.try_acquire().map_err(|_| ApiError::Busy)?;
    let body =
        Bytes::from_request(request, &()).await.map_err(|rejection| ApiError::Refused(rejection.status()))?;
    let read = tokio::task::spawn_blocking(move || {
        if gzip { whole(BufReader::new(GzDecoder::new(&*body))) } else { whole(&*body) }
    });
    let (heading, flows) = read
        .await
        .map_err(|error| {
            tracing::error!(%error, "a delivery could not be read");
            ApiError::Unavailable
        })?
        .map_err(|why| match why {
            Unreadable::Newer(_) => ApiError::NewerDelivery { detail: why.to_string() },
            Unreadable::Wrong(detail) => ApiError::BadDelivery { detail },
        })?;
    if let Some(Bound(identity)) = bound
        && !identity.names(&heading.agent)
    {
        tracing::warn!(agent = heading.agent, certificate = %identity, "the certificate is not this agent's: refused");
        return Err(ApiError::AnotherAgent { agent: heading.agent, certificate: identity.to_string() });
    }
    let receipt = Receipt { sequence: heading.sequence, flows: flows.len() as u64 };
    app.keep(heading, flows).await.map_err(|Unavailable| ApiError::Unavailable)?;
    Ok(Json(receipt))
}

/// Why a delivery is not read.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It has a later version's form, which a later server reads.
    #[error("the form has version {0}, this server reads 1 to {VERSION}")]
    Newer(u32),
    /// Something else, and for good.
    #[error("{0}")]
    Wrong(String),
}

impl From<String> for Unreadable {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// Reads a delivery after which nothing comes.
fn whole(mut input: impl BufRead) -> Result<(Heading, Vec<Flow>), Unreadable> {
    let delivery = read_delivery(&mut input)?.ok_or_else(|| "there is no heading".to_owned())?;
    match input.fill_buf() {
        Ok([]) => Ok(delivery),
        Ok(_) => Err(format!("more follows than the {} flows of the heading", delivery.0.flows).into()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// What every version of a heading has.
#[derive(serde::Deserialize)]
struct Form {
    version: u32,
}

/// Reads the next delivery: all of it, or why not. Half of one is never kept: the agent counts it as lost, all of it.
/// Nothing where the input has ended.
///
/// # Errors
///
/// When it cannot be read; what stands behind it cannot be either.
pub fn read_delivery(input: &mut impl BufRead) -> Result<Option<(Heading, Vec<Flow>)>, Unreadable> {
    let mut input = input.take(DELIVERY_JSON as u64);
    let (mut text, mut number) = (Vec::new(), 0_u64);
    // Puts the next line into `text`; tells its number, or nothing where there is none.
    let mut line = |text: &mut Vec<u8>| -> Result<Option<u64>, String> {
        text.clear();
        number = number.saturating_add(1);
        let read = input.read_until(b'\n', text).map_err(|error| format!("line {number}: {error}"))?;
        Ok((read > 0).then_some(number))
    };
    if line(&mut text)?.is_none() {
        return Ok(None);
    }
    let wrong = |error: serde_json::Error| format!("line 1: {error}");
    // Of another version nothing else need be as this one has it.
    let Form { version } = serde_json::from_slice(&text).map_err(wrong)?;
    if version > VERSION {
        return Err(Unreadable::Newer(version));
    }
    if version == 0 {
        return Err("there is no version 0 of the form".to_owned().into());
    }
    let heading: Heading = serde_json::from_slice(&text).map_err(wrong)?;
    if !(is_name(&heading.agent) && is_name(&heading.run)) {
        return Err(format!(
            "agent and run are named by printable ASCII without spaces and slashes, {LONGEST_NAME} characters at most"
        )
        .into());
    }
    let mut flows = Flows::default();
    for told in 0..heading.flows {
        let Some(number) = line(&mut text)? else {
            return Err(format!("the heading says {} flows, {told} are there", heading.flows).into());
        };
        flows.read(&text).map_err(|why| format!("line {number}: {why}"))?;
    }
    Ok(Some((heading, flows.read)))
}

/// The flows of a delivery as they are read.
#[derive(Default)]
struct Flows {
    read: Vec<Flow>,
    /// How long the line of each is, if it is whole; 0 of the others.
    lengths: Vec<usize>,
    /// How long the lines would be if each were whole: as much is held in memory.
    weight: usize,
}

impl Flows {
    fn read(&mut self, line: &[u8]) -> Result<(), String> {
        let wrong = |error: serde_json::Error| error.to_string();
        if line.starts_with(LIKE.as_bytes()) {
            let own: Like = serde_json::from_slice(line).map_err(wrong)?;
            let length = self.lengths.get(own.like).copied().filter(|length| *length > 0);
            let (Some(like), Some(length)) = (self.read.get(own.like), length) else {
                return Err(format!("flow {} of the delivery is none that another can be like", own.like));
            };
            let flow = own.flow(like);
            self.push(flow, 0, length)
        } else {
            self.push(serde_json::from_slice(line).map_err(wrong)?, line.len(), line.len())
        }
    }

    fn push(&mut self, flow: Flow, length: usize, weight: usize) -> Result<(), String> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > DELIVERY_JSON {
            return Err(format!("the flows are more than {DELIVERY_JSON} bytes, each taken whole"));
        }
        self.read.push(flow);
        self.lengths.push(length);
        Ok(())
    }
}
