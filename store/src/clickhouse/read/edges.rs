//! Edges: who talks to whom, and how.

use clickhouse::Row;
use flow::Timestamp;
use serde::Deserialize;

use super::{overlap, page, word};
use crate::answer::{Edge, EdgeEnd, Page};
use crate::clickhouse::Clickhouse;
use crate::clickhouse::filter::all_counted;
use crate::clickhouse::rows::VIOLATES;
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};

impl Clickhouse {
    pub(in crate::clickhouse) async fn page_of_edges(
        &self,
        query: &Query,
        paging: &Paging,
    ) -> Result<Page<Edge>, StoreError> {
        #[derive(Row, Deserialize)]
        struct EdgeRow {
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
            all_flows: u64,
            violating: u64,
            all_bytes: u64,
            first_seen: i64,
            last_seen: i64,
        }
        let limit = paging.rows();
        let (asked, after) = overlap(query, List::Edges, paging, "edge")?;
        let sql = format!(
            "SELECT edge, any(client) AS client, any(client_kind) AS client_kind, any(client_namespace) AS client_namespace,
                any(client_workload) AS client_workload, any(server) AS server, any(server_kind) AS server_kind,
                any(server_namespace) AS server_namespace, any(server_workload) AS server_workload,
                any(transport) AS transport, any(port) AS port, any(protocol) AS protocol, any(class) AS class,
                any(proof) AS proof, sum(flows) AS all_flows, sumIf(flows, judgement = '{VIOLATES}') AS violating,
                sum(bytes) AS all_bytes, min(first) AS first_seen, max(last) AS last_seen
             FROM {counted} AS counted
             INNER JOIN (SELECT * EXCEPT (body, sent), {outcome} AND {named} AS fits FROM shape WHERE {edge} LIMIT 1 BY hash) AS shape
                ON counted.shape = shape.hash
             GROUP BY edge HAVING max(fits) AND {after}
             ORDER BY first_seen DESC, edge DESC LIMIT {{limit:UInt64}}",
            counted = all_counted(),
            outcome = asked.outcome,
            named = asked.named,
            edge = asked.edge,
        );
        let rows: Vec<EdgeRow> = self.ask(&sql, &asked).await?;
        let position = |row: &EdgeRow| Position { rank: 0, start: row.first_seen, name: row.edge.clone() };
        page(rows, limit, query, List::Edges, position, |row| {
            let end = |name, kind: &str, namespace, workload| -> Result<EdgeEnd, StoreError> {
                Ok(EdgeEnd { name, kind: word(kind)?, namespace, workload })
            };
            Ok(Edge {
                client: end(row.client, &row.client_kind, row.client_namespace, row.client_workload)?,
                server: end(row.server, &row.server_kind, row.server_namespace, row.server_workload)?,
                transport: word(&row.transport)?,
                port: row.port,
                protocol: row.protocol.as_deref().map(word).transpose()?,
                class: word(&row.class)?,
                proof: word(&row.proof)?,
                flows: row.all_flows,
                violating: row.violating,
                bytes: row.all_bytes,
                first_seen: Timestamp::from_nanos(row.first_seen),
                last_seen: Timestamp::from_nanos(row.last_seen),
            })
        })
    }
}
