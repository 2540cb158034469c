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
struct Writers {
    writers: u64,
}

#[derive(Row, Deserialize)]
struct Suspect {
    id: u128,
    start: i64,
    tcp_handshake: Option<u64>,
}

impl Clickhouse {
    /// Finds suspects among the rows written of late, then reads all that may belong to them. Where one wrote them all there are none, and
    /// to see that takes a hundredth of what looking at them does.
    pub(in crate::clickhouse) async fn all_contested(
        &self,
        within: Duration,
    ) -> Result<Option<Vec<Contested>>, StoreError> {
        let asked = Asked::new(&Query::default()).and("within", within.as_secs()).and("most", MOST);
        let writers = "SELECT uniqExact(writer) AS writers FROM flow WHERE at >= now() - {within:UInt64}";
        let writers: Vec<Writers> = self.ask(writers, &asked).await?;
        if writers.iter().all(|found| found.writers < 2) {
            return Ok(None);
        }
        // A flow's opening is the upper half of its name. What has rows of one writer alone is no suspect, nor are reports that were taken out
        // within the time, and ones that were taken out in it and written before: only what is there more than once, or less than
        // not at all.
        let sql = "
            WITH late AS (
                SELECT start AS begin, id, version, toUInt64(bitShiftRight(id, 64)) AS opening, tcp_handshake AS handshake,
                    translated AS other, sign, writer
                FROM flow WHERE at >= now() - {within:UInt64}
            )
            SELECT DISTINCT suspect.1 AS id, toUnixTimestamp64Nano(suspect.2) AS start, suspect.3 AS tcp_handshake FROM (
                SELECT arrayJoin(groupArray((id, begin, hands))) AS suspect FROM (
                    SELECT begin, id, any(opening) AS opened, any(handshake) AS hands, sum(sign) AS times FROM late
                    WHERE opening GLOBAL IN (
                        SELECT opening FROM late GROUP BY opening HAVING min(writer) != max(writer)
                    )
                    GROUP BY begin, id, version HAVING times > 0
                )
                GROUP BY opened HAVING count() > 1 OR max(times) > 1
                UNION ALL
                SELECT arrayJoin(groupArray((id, begin, hands))) AS suspect FROM (
                    SELECT begin, id, any(handshake) AS hands, any(other) AS side, sum(sign) AS times FROM late
                    WHERE handshake GLOBAL IN (
                        SELECT handshake FROM late WHERE handshake IS NOT NULL
                        GROUP BY handshake HAVING min(writer) != max(writer) AND min(id) != max(id)
                    )
                    GROUP BY begin, id, version HAVING times > 0
                )
                GROUP BY hands HAVING uniqExact(id) > 1 AND countIf(side IS NULL) > 0
                UNION ALL
                SELECT (id, start, NULL::Nullable(UInt64)) AS suspect FROM flow
                WHERE (start, id) GLOBAL IN (
                    SELECT begin, id FROM late WHERE sign < 0 GROUP BY begin, id HAVING min(writer) != max(writer)
                )
                GROUP BY start, id, version HAVING sum(sign) < 0
            )
            ORDER BY start, id LIMIT {most:UInt32}";
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
        let known: Vec<(i64, u64)> = reports.iter().map(|row| (count(row), row.version)).collect();
        let judged = self.judged(reports).await?;
        let contested = judged.into_iter().zip(known);
        Ok(Some(contested.map(|(judged, (times, version))| Contested { judged, times, version }).collect()))
    }
}
