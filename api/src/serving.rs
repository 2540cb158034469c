//! Connections to the router: how long one may keep silent, and their end in good order.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tower::ServiceExt as _;

use crate::tls::Peer;

/// How long a request's head may take, and how long a connection may stay without another request: whoever connects and says
/// nothing, or a little now and then, keeps a descriptor for no longer. Agents deliver every ten seconds at least.
const HEAD: Duration = Duration::from_secs(30);

/// Serves every connection that comes, until `over`; requests that have begun are finished. `peer` tells who is at the other end.
pub(crate) async fn serve<L: Listener>(
    mut listener: L,
    app: Router,
    peer: impl Fn(&L::Io, &L::Addr) -> Option<Peer>,
    over: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let all = GracefulShutdown::new();
    let mut over = pin!(over);
    loop {
        let (io, from) = tokio::select! {
            biased;
            () = &mut over => break,
            accepted = listener.accept() => accepted,
        };
        let (app, peer) = (app.clone(), peer(&io, &from));
        let answer = service_fn(move |request| answer(app.clone(), peer.clone(), request));
        let connection = all.watch(http.serve_connection(TokioIo::new(io), answer));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    all.shutdown().await;
}

async fn answer(
    app: Router,
    peer: Option<Peer>,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<Response, Infallible> {
    let mut request: Request = request.map(Body::new);
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    app.oneshot(request).await
}
