//! Connections to the router: how long one may keep silent, how long it lasts, and their end in good order.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::places::{Door, Visitor};
use crate::tls::Peer;

/// How long a request's head may take, and how long a connection may stay without another request: whoever connects and says
/// nothing, or a little now and then, keeps a place for no longer. Agents deliver every ten seconds at least.
const HEAD: Duration = Duration::from_secs(30);

/// How old a connection gets: it ends with the next answer.
const LIFE: Duration = Duration::from_secs(300);

/// How old it gets at most, whatever is under way: whoever takes answers slowly, or not at all, has until then.
const END: Duration = Duration::from_secs(360);

/// How long requests that have begun may take when the server is to end: less than a service manager waits before it kills.
const LAST: Duration = Duration::from_secs(20);

/// From where connections come.
pub(crate) trait Accept {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn accept(&mut self) -> (Self::Io, Visitor);
}

impl Accept for Door {
    type Io = TcpStream;

    async fn accept(&mut self) -> (TcpStream, Visitor) {
        Self::accept(self).await
    }
}

/// Serves every connection that comes, until `over`; requests that have begun are finished, if they do not take long. `peer` tells who is at the other end.
pub(crate) async fn serve<A: Accept>(
    mut door: A,
    app: Router,
    peer: impl Fn(&A::Io, &Visitor) -> Option<Peer>,
    over: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let all = GracefulShutdown::new();
    let mut over = pin!(over);
    loop {
        let (io, visitor) = tokio::select! {
            biased;
            () = &mut over => break,
            accepted = door.accept() => accepted,
        };
        let (app, peer) = (app.clone(), peer(&io, &visitor));
        let since = Instant::now();
        let answer = service_fn(move |request| answer(app.clone(), peer.clone(), since, request));
        let connection = all.watch(http.serve_connection(TokioIo::new(io), answer));
        tokio::spawn(async move {
            let _place = visitor;
            match tokio::time::timeout(END, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
                Err(_) => tracing::info!("a connection took too long"),
            }
        });
    }
    drop(door);
    if tokio::time::timeout(LAST, all.shutdown()).await.is_err() {
        tracing::warn!("connections were cut off that did not end");
    }
}

async fn answer(
    app: Router,
    peer: Option<Peer>,
    since: Instant,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<Response, Infallible> {
    let mut request: Request = request.map(Body::new);
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    let mut answer = app.oneshot(request).await?;
    if since.elapsed() >= LIFE {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}
