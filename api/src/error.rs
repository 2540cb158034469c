//! Every way a request can fail, as a problem document (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::error::StoreError;
use utoipa::ToSchema;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// The query names a filter that this route does not have.
    UnknownFilter { name: String, suggestion: Option<&'static str> },
    /// A filter's value does not read.
    BadValue { name: String, detail: String },
    /// A part of the path does not read.
    BadPath { name: &'static str, detail: String },
    /// The cursor is not for this query.
    BadCursor,
    /// There is no such thing, or no such page.
    NotFound { what: String },
    /// No policies were loaded, so none can be explained.
    NoMesh,
    /// Nothing collects here.
    NoCollector,
    /// What an agent sent cannot be read.
    BadDelivery { detail: String },
    /// What an agent sent has a later version's form.
    NewerDelivery { detail: String },
    /// Too many deliveries are under way.
    Busy,
    /// The request does not carry the token.
    Unauthorized,
    /// The certificate that the delivery came in with is not this agent's.
    AnotherAgent { agent: String, certificate: String },
    /// The `Host` header names another site.
    UnknownHost,
    /// The store did not answer; why is in the log.
    Unavailable,
    /// The HTTP layers refused: method, size, time.
    Refused(StatusCode),
}

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Which problem: `/problems/<name>`.
    #[serde(rename = "type")]
    kind: String,
    /// The same in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The request's path.
    instance: String,
    /// The parts of the request that are wrong.
    errors: Vec<Fault>,
    /// Names the request in the server's log.
    request_id: String,
}

/// One wrong part of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// Where: `query/<name>` or `path/<name>`.
    pointer: String,
    /// What.
    detail: String,
}

impl ApiError {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::UnknownFilter { .. } | Self::BadValue { .. } | Self::BadPath { .. } | Self::BadCursor => {
                StatusCode::BAD_REQUEST
            }
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::NoMesh | Self::NoCollector => StatusCode::CONFLICT,
            Self::BadDelivery { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NewerDelivery { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::AnotherAgent { .. } => StatusCode::FORBIDDEN,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(status) => *status,
        }
    }

    /// Writes the document, once the request's path and id are known.
    pub(crate) fn problem(&self, instance: String, request_id: String) -> Problem {
        let (name, title, detail) = match self {
            Self::UnknownFilter { name, suggestion } => {
                let hint = suggestion.map_or(String::new(), |near| format!("; did you mean '{near}'?"));
                ("unknown-filter", "Unknown filter", format!("'{name}' is not a filter here{hint}"))
            }
            Self::BadValue { name, detail } => ("bad-value", "Bad value", format!("{name}: {detail}")),
            Self::BadPath { name, detail } => ("bad-value", "Bad value", format!("{name}: {detail}")),
            Self::BadCursor => (
                "bad-cursor",
                "Bad cursor",
                "the cursor does not belong to this query: start again without it".into(),
            ),
            Self::NotFound { what } => ("not-found", "Not found", format!("there is no {what}")),
            Self::NoMesh => {
                ("no-mesh", "No policies loaded", "start with --mesh to have policies explained".into())
            }
            Self::NoCollector => (
                "no-collector",
                "Nothing is collected here",
                "this server only shows what its store holds".into(),
            ),
            Self::BadDelivery { detail } => ("bad-delivery", "The delivery cannot be read", detail.clone()),
            Self::NewerDelivery { detail } => {
                ("newer-delivery", "The delivery has a later version's form", detail.clone())
            }
            Self::Busy => ("busy", "Too much is under way", "come again in a second".into()),
            Self::Unauthorized => (
                "unauthorized",
                "Unauthorized",
                "send the server's token as 'Authorization: Bearer <token>'; an agent may show a certificate instead where the server has a CA for them".into(),
            ),
            Self::AnotherAgent { agent, certificate } => (
                "another-agent",
                "The certificate is another agent's",
                format!("the certificate is for {certificate}, the delivery is of the agent {agent}"),
            ),
            Self::UnknownHost => (
                "unknown-host",
                "Unknown host",
                "this server listens on loopback and answers to localhost, 127.0.0.1 and [::1] only".into(),
            ),
            Self::Unavailable => (
                "unavailable",
                "The store does not answer",
                "the server's log says why, under this request's id".into(),
            ),
            Self::Refused(status) => {
                let reason = status.canonical_reason().unwrap_or("Refused");
                ("refused", reason, format!("the request was refused with status {}", status.as_u16()))
            }
        };
        let errors = match self {
            Self::UnknownFilter { name, .. } | Self::BadValue { name, .. } => {
                vec![Fault { pointer: format!("query/{name}"), detail: detail.clone() }]
            }
            Self::BadPath { name, .. } => {
                vec![Fault { pointer: format!("path/{name}"), detail: detail.clone() }]
            }
            Self::BadCursor => vec![Fault { pointer: "query/cursor".into(), detail: detail.clone() }],
            Self::NotFound { .. }
            | Self::NoMesh
            | Self::NoCollector
            | Self::BadDelivery { .. }
            | Self::NewerDelivery { .. }
            | Self::Busy
            | Self::Unauthorized
            | Self::AnotherAgent { .. }
            | Self::UnknownHost
            | Self::Unavailable
            | Self::Refused(_) => Vec::new(),
        };
        let status = self.status().as_u16();
        Problem { kind: format!("/problems/{name}"), title, status, detail, instance, errors, request_id }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Cursor) {
            return Self::BadCursor;
        }
        tracing::error!(%error, "store does not answer");
        Self::Unavailable
    }
}

impl IntoResponse for ApiError {
    /// Only notes the error: the outermost layer knows the request's id and writes the document.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
