//! `/api/v1/policies/effective`: what the declarations imply for one connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use analyzer::explain::{Explanation, Question, explain};
use analyzer::mesh::Mesh;
use axum::Json;
use axum::extract::{Query as Pairs, State};
use flow::Endpoint;

use crate::State as App;
use crate::error::{ApiError, Problem};
use crate::filter;
use crate::routes::audit::{pairs, told};
use crate::view::One;

/// Which connection: `from` and `to`, or `workload` and `port`.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in openapi.json; `question` reads them")]
pub(crate) struct ConnectionParams {
    /// The client's address; where it is not given, a client outside the mesh is meant.
    from: Option<String>,
    /// The destination on the wire: `address:port`.
    to: Option<String>,
    /// The destination as `namespace/workload`, in place of `to`: its first pod is meant.
    workload: Option<String>,
    /// The workload's port.
    #[param(minimum = 0, maximum = 65535)]
    port: Option<u16>,
    /// The server name in the ClientHello, where the answer depends on it.
    sni: Option<String>,
}

const NAMES: &[&str] = &["from", "to", "workload", "port", "sni"];

/// What the declarations imply for one connection, and which resources say so.
#[utoipa::path(get, path = "/policies/effective", params(ConnectionParams), responses(
    (status = 200, description = "What is declared, who decided, and which lint findings touch it", body = One<Object>),
    (status = 400, description = "Unknown or missing parameter", body = Problem),
    (status = 404, description = "No such workload", body = Problem),
    (status = 409, description = "No policies were loaded", body = Problem)))]
pub(crate) async fn effective(
    State(app): State<App>,
    asked: Result<Pairs<filter::Pairs>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<One<Explanation>>, ApiError> {
    let pairs = pairs(asked)?;
    let mesh = app.policies.mesh().ok_or(ApiError::NoMesh)?;
    let question = question(&mesh, &pairs)?;
    told(&app, explain(&mesh, &question)).await
}

fn question(mesh: &Mesh, pairs: &filter::Pairs) -> Result<Question, ApiError> {
    filter::once(pairs, NAMES)?;
    let (mut from, mut to, mut workload, mut port, mut sni) = (None, None, None, None, None);
    for (name, value) in pairs {
        match name.as_str() {
            "from" => from = Some(filter::parse::<IpAddr>(name, value)?),
            "to" => to = Some(filter::parse::<SocketAddr>(name, value)?),
            "workload" => workload = Some(value.as_str()),
            "port" => port = Some(filter::parse::<u16>(name, value)?),
            "sni" => sni = Some(value.clone()),
            other => return Err(filter::unknown(other, NAMES.iter())),
        }
    }
    let to = match (to, workload, port) {
        (Some(to), None, None) => Endpoint { ip: to.ip(), port: to.port() },
        (None, Some(workload), Some(port)) => Endpoint { ip: address_of(mesh, workload)?, port },
        _ => {
            return Err(ApiError::BadValue {
                name: "to".into(),
                detail: "give either to=address:port, or workload=namespace/name together with port".into(),
            });
        }
    };
    // The unspecified address belongs to nobody, so it stands for a client outside the mesh.
    Ok(Question { from: from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), to, sni })
}

fn address_of(mesh: &Mesh, workload: &str) -> Result<IpAddr, ApiError> {
    mesh.pods
        .iter()
        .filter(|pod| {
            workload
                .split_once('/')
                .is_some_and(|(namespace, name)| *pod.meta.namespace == *namespace && pod.workload == name)
        })
        .find_map(|pod| pod.ips.first().copied())
        .ok_or_else(|| ApiError::NotFound {
            what: "pod with an address of this workload (namespace/name)".into(),
        })
}
