//! What several collectors may have recorded at the same moment.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use clickhouse::Row;
use flow::{FlowId, TcpHandshake, Timestamp};
use serde::Deserialize;

use crate::clickhouse::Clickhouse;
use crate::clickhouse::filter::Asked;
use crate::clickhouse::rows::SignedRow;
use crate::error::StoreError;
use crate::query::Query;
use crate::sightings::{Contested, Sightings, Sought};

/// How many flows are looked at more closely at once; the next look finds the others.
const MOST: u32 = 20_000;

#[derive(Row, Deserialize)]
struct Suspect {
    id: u128,
    start: i64,
    tcp_handshake: Option<u64>,
}

impl Clickhouse {
    /// Finds suspects among the rows written of late, then reads all that may belong to them.
    pub(in crate::clickhouse) async fn all_contested(
        &self,
        within: Duration,
    ) -> Result<Vec<Contested>, StoreError> {
        let asked = Asked::new(&Query::default()).and("within", within.as_secs()).and("most", MOST);
        // A flow's opening is the upper half of its name. Reports that were taken out within the time, and ones that were taken out in it
        // and written before, are no suspects: only what is there more than once, or less than not at all.
        let sql = "
            WITH fresh AS (
                SELECT start AS begin, id, version, any(tcp_handshake) AS handshake, any(translated) AS other, sum(sign) AS times
                FROM flow WHERE at >= now() - {within:UInt64} GROUP BY start, id, version HAVING times > 0
            )
            SELECT id, toUnixTimestamp64Nano(begin) AS start, any(handshake) AS tcp_handshake FROM (
                SELECT begin, id, handshake FROM fresh WHERE bitShiftRight(id, 64) GLOBAL IN (
                    SELECT bitShiftRight(id, 64) AS opening FROM fresh GROUP BY opening HAVING count() > 1 OR max(times) > 1
                )
                UNION ALL
                SELECT begin, id, handshake FROM fresh WHERE handshake GLOBAL IN (
                    SELECT handshake FROM fresh WHERE handshake IS NOT NULL
                    GROUP BY handshake HAVING uniqExact(id) > 1 AND countIf(other IS NULL) > 0
                )
                UNION ALL
                SELECT start AS begin, id, NULL AS handshake FROM flow
                WHERE (start, id) GLOBAL IN (SELECT start, id FROM flow WHERE at >= now() - {within:UInt64} AND sign < 0)
                GROUP BY start, id, version HAVING sum(sign) < 0
            )
            GROUP BY begin, id ORDER BY begin, id LIMIT {most:UInt32}";
        let suspects: Vec<Suspect> = self.ask(sql, &asked).await?;
        let mut sought: Vec<Sought> = Vec::with_capacity(suspects.len());
        let mut named = HashSet::with_capacity(suspects.len());
        for suspect in &suspects {
            let [opening, _] = FlowId(suspect.id).halves();
            named.insert(suspect.id);
            sought.push(Sought {
                opening: Some(opening),
                tcp_handshake: suspect.tcp_handshake.map(TcpHandshake),
                start: Timestamp::from_nanos(suspect.start),
            });
        }
        let sightings = Sightings::of(&sought);
        let mut times: BTreeMap<(i64, u128, u64), i64> = BTreeMap::new();
        let mut reports: Vec<SignedRow> = Vec::new();
        for row in self.sighted(&sightings).await? {
            if !named.contains(&row.id) && !sightings.fit(FlowId(row.id), row.start, row.tcp_handshake) {
                continue;
            }
            let count = times.entry((row.start, row.id, row.version)).or_insert_with(|| {
                reports.push(row.clone());
                0
            });
            *count += i64::from(row.sign);
        }
        let count = |row: &SignedRow| times.get(&(row.start, row.id, row.version)).copied().unwrap_or(0);
        reports.retain(|row| count(row) != 0);
        let counts: Vec<i64> = reports.iter().map(count).collect();
        let judged = self.judged(reports).await?;
        Ok(judged.into_iter().zip(counts).map(|(judged, times)| Contested { judged, times }).collect())
    }
}
