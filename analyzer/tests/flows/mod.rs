//! Flows for tests.

use std::net::SocketAddr;

use flow::{Close, Endpoint, Flow, FlowId, PerSide, Security, Timestamp, Transport};

/// A connection that was seen whole, of bytes in both directions.
pub(crate) fn flow(from: &str, to: &str, security: Security) -> Flow {
    let to: SocketAddr = to.parse().unwrap();
    Flow {
        id: FlowId(1),
        start: at("2026-03-01T12:00:00Z"),
        end: at("2026-03-01T12:00:05Z"),
        transport: Transport::Tcp,
        client: Endpoint { ip: from.parse().unwrap(), port: 40000 },
        server: Endpoint { ip: to.ip(), port: to.port() },
        tunnel: Vec::new(),
        seen_at: Vec::new(),
        security,
        protocol: None,
        upgrade: None,
        from_start: true,
        tcp_handshake: None,
        close: Close::Fin,
        packets: PerSide { client: 3, server: 3 },
        bytes: PerSide { client: 10, server: 10 },
    }
}

pub(crate) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}
