//! Rows as they go to the server and come back; the columns are those of `schema`.

use std::error::Error;
use std::net::{IpAddr, Ipv6Addr};

use analyzer::report::{Judged, Judgement, SetAside, finding_key};
use clickhouse::Row;
use clickhouse::native::builder::BlockBuilder;
use clickhouse::native::encode::{Encode, ValueWriter};
use clickhouse::native::{Block, DataTypeNode};
use flow::{CommunityId, FlowId, PerSide, TcpHandshake, Timestamp};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use crate::error::StoreError;
use crate::shape::{self, Own};

/// A flow's own part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FlowRow {
    pub(super) start: Moment,
    pub(super) id: u128,
    /// A hash of everything else in the row: another report of the flow is another version.
    pub(super) version: u64,
    pub(super) finish: Moment,
    pub(super) server: Ipv6Addr,
    pub(super) client_port: u16,
    pub(super) close: &'static str,
    pub(super) packets_client: u64,
    pub(super) packets_server: u64,
    pub(super) bytes_client: u64,
    pub(super) bytes_server: u64,
    pub(super) shape: u128,
    pub(super) tcp_handshake: Option<u64>,
    pub(super) translated: Option<String>,
    /// By which flows with a Community ID are found; it follows from the rest.
    pub(super) community_id: u64,
    /// What of the flow must be there for the row to count ([`crate::sightings::Found`]); no column of the flow's own.
    pub(super) found: i64,
}

/// A time, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(i64);

impl Encode for Moment {
    fn produces() -> DataTypeNode {
        // It always reads; else the first value would be refused.
        DataTypeNode::new("DateTime64(9, 'UTC')").unwrap_or(DataTypeNode::String)
    }

    fn encode(&self, writer: &mut ValueWriter<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(writer.write_fixed(&self.0.to_le_bytes())?)
    }
}

/// A row of the log: a report (1), or what takes one out (-1).
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(super) struct SignedRow {
    pub(super) start: i64,
    pub(super) id: u128,
    pub(super) version: u64,
    pub(super) finish: i64,
    pub(super) client_port: u16,
    pub(super) close: String,
    pub(super) packets_client: u64,
    pub(super) packets_server: u64,
    pub(super) bytes_client: u64,
    pub(super) bytes_server: u64,
    pub(super) shape: u128,
    pub(super) sign: i8,
    pub(super) tcp_handshake: Option<u64>,
    pub(super) translated: Option<String>,
}

/// The columns of a [`SignedRow`].
pub(super) const SIGNED: &str = "start, id, version, finish, client_port, close, packets_client, packets_server, bytes_client, bytes_server, shape, sign, tcp_handshake, translated";

impl FlowRow {
    /// Makes a row of a flow's own part and the name of its shape.
    pub(super) fn new(
        own: Own,
        name: u128,
        server: IpAddr,
        community_id: CommunityId,
    ) -> Result<Self, StoreError> {
        let mut row = Self {
            start: Moment(own.start.as_nanos()),
            id: own.id.0,
            version: 0,
            finish: Moment(own.end.as_nanos()),
            server: match server {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            },
            client_port: own.client_port,
            close: own.close.name(),
            packets_client: own.packets.client,
            packets_server: own.packets.server,
            bytes_client: own.bytes.client,
            bytes_server: own.bytes.server,
            shape: name,
            tcp_handshake: own.tcp_handshake.map(|handshake| handshake.0),
            translated: shape::write_other(own.translated)?,
            community_id: community_id.folded(),
            found: 0,
        };
        let mut hasher = SipHasher13::new();
        hasher.write_i64(row.finish.0);
        hasher.write_u16(row.client_port);
        hasher.write(row.close.as_bytes());
        for count in [row.packets_client, row.packets_server, row.bytes_client, row.bytes_server] {
            hasher.write_u64(count);
        }
        hasher.write_u128(row.shape);
        // What has neither keeps the version that it has without these columns.
        if let Some(handshake) = row.tcp_handshake {
            hasher.write_u64(handshake);
        }
        if let Some(other) = &row.translated {
            hasher.write(other.as_bytes());
        }
        row.version = hasher.finish128().h1;
        Ok(row)
    }
}

/// Makes a block of rows, by column, as the server keeps them, with or without what must be there. There must be one row at least.
pub(super) fn block(rows: &[FlowRow], found: bool) -> Result<Block, Box<dyn Error + Send + Sync>> {
    fn column<T: Encode>(
        block: &mut BlockBuilder,
        name: &str,
        values: impl Iterator<Item = T>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        block.upsert_column(name)?.add_all(values)?;
        Ok(())
    }
    let mut block = BlockBuilder::new();
    column(&mut block, "start", rows.iter().map(|row| row.start))?;
    column(&mut block, "id", rows.iter().map(|row| row.id))?;
    column(&mut block, "version", rows.iter().map(|row| row.version))?;
    column(&mut block, "finish", rows.iter().map(|row| row.finish))?;
    column(&mut block, "server", rows.iter().map(|row| row.server))?;
    column(&mut block, "client_port", rows.iter().map(|row| row.client_port))?;
    column(&mut block, "close", rows.iter().map(|row| row.close))?;
    column(&mut block, "packets_client", rows.iter().map(|row| row.packets_client))?;
    column(&mut block, "packets_server", rows.iter().map(|row| row.packets_server))?;
    column(&mut block, "bytes_client", rows.iter().map(|row| row.bytes_client))?;
    column(&mut block, "bytes_server", rows.iter().map(|row| row.bytes_server))?;
    column(&mut block, "shape", rows.iter().map(|row| row.shape))?;
    column(&mut block, "tcp_handshake", rows.iter().map(|row| row.tcp_handshake))?;
    column(&mut block, "translated", rows.iter().map(|row| row.translated.as_deref()))?;
    column(&mut block, "community_id", rows.iter().map(|row| row.community_id))?;
    if found {
        column(&mut block, "found", rows.iter().map(|row| row.found))?;
    }
    Ok(block.build()?)
}

impl SignedRow {
    pub(super) fn own(&self) -> Result<Own, StoreError> {
        Ok(Own {
            id: FlowId(self.id),
            start: Timestamp::from_nanos(self.start),
            end: Timestamp::from_nanos(self.finish),
            client_port: self.client_port,
            close: self.close.parse().map_err(StoreError::Word)?,
            packets: PerSide { client: self.packets_client, server: self.packets_server },
            bytes: PerSide { client: self.bytes_client, server: self.bytes_server },
            tcp_handshake: self.tcp_handshake.map(TcpHandshake),
            translated: shape::read_other(self.translated.as_deref())?,
        })
    }
}

/// What flows share, by content, with the words that filters and groups need.
#[derive(Debug, Clone, Row, Serialize, Deserialize)]
pub(super) struct ShapeRow {
    hash: u128,
    edge: String,
    client: String,
    client_kind: String,
    client_namespace: Option<String>,
    client_workload: Option<String>,
    server: String,
    server_kind: String,
    server_namespace: Option<String>,
    server_workload: Option<String>,
    transport: String,
    port: u16,
    protocol: Option<String>,
    class: String,
    proof: String,
    proof_rank: u8,
    judgement: String,
    /// Key, id, rank of the severity, rank of the certainty, cause.
    violations: Vec<(String, String, u8, u8, Option<String>)>,
    body: String,
}

impl ShapeRow {
    pub(super) fn new(hash: u128, shape: &Judged) -> Result<Self, StoreError> {
        let (client, server, seen) = (&shape.client, &shape.server, &shape.flow);
        let proof = seen.security.evidence().proof;
        let mut violations: Vec<_> = shape
            .violations
            .iter()
            .map(|broken| {
                let (severity, certainty) = (broken.severity as u8, broken.certainty as u8);
                (finding_key(shape, broken), broken.id.clone(), severity, certainty, broken.cause.clone())
            })
            .collect();
        // A flow counts once in a finding, however often it breaks the same declaration.
        violations.sort();
        violations.dedup_by(|one, other| one.0 == other.0);
        Ok(Self {
            hash,
            edge: shape::edge(shape)?,
            client: client.name(),
            client_kind: client.kind.name().into(),
            client_namespace: client.namespace.clone(),
            client_workload: client.workload.clone(),
            server: server.name(),
            server_kind: server.kind.name().into(),
            server_namespace: server.namespace.clone(),
            server_workload: server.workload.clone(),
            transport: seen.transport.name().into(),
            port: seen.server.port,
            protocol: seen.protocol.map(|protocol| protocol.name().into()),
            class: seen.security.class().name().into(),
            proof: proof.name().into(),
            proof_rank: proof as u8,
            judgement: shape.judgement.name().into(),
            violations,
            body: shape::write(shape)?,
        })
    }
}

/// Declarations as they were read at a time, or in force since.
#[derive(Debug, Clone, Row, Serialize, Deserialize)]
pub(super) struct MeshRow {
    pub(super) id: String,
    pub(super) taken_at: i64,
    pub(super) manifests: String,
}

/// All that a source has covered.
#[derive(Debug, Clone, Row, Serialize, Deserialize)]
pub(super) struct SourceRow {
    pub(super) name: String,
    pub(super) coverage: String,
}

impl ShapeRow {
    /// Returns the shape's name.
    pub(super) fn name(&self) -> u128 {
        self.hash
    }
}

/// The word for a side of an address translation that is told on another side.
pub(super) const TRANSLATED: &str = SetAside::Translated.name();

/// The word for a flow that breaks a declaration.
pub(super) const VIOLATES: &str = Judgement::Violates.name();
