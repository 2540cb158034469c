//! A query's filters as SQL conditions on the tables `edge`, `shape` and `finding`.
//!
//! Every value is bound, never written into the statement.

use rusqlite::types::Value;

use crate::query::{Position, Query};

/// Conditions and the values they bind, in order.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    terms: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    /// Narrows shapes (joined with their edges).
    pub(super) fn of_shapes(query: &Query) -> Self {
        let mut all = Self::default();
        all.on_edge(query);
        all.on_shape(query);
        all
    }

    /// Narrows edges: an edge fits when one of its shapes does.
    pub(super) fn of_edges(query: &Query) -> Self {
        let mut all = Self::default();
        all.on_edge(query);
        all.times("edge.last_seen", "edge.first_seen", query);
        let mut shape = Self::default();
        shape.on_shape(query);
        shape.with_named_flow(query);
        if !shape.terms.is_empty() {
            all.open("EXISTS (SELECT 1 FROM shape WHERE shape.edge = edge.row");
            all.append(shape);
            all.close();
        }
        all
    }

    /// Narrows findings: a finding fits when one of its shapes does.
    pub(super) fn of_findings(query: &Query) -> Self {
        let mut all = Self::default();
        all.on_finding(query);
        all.times("finding.last_seen", "finding.first_seen", query);
        let mut shape = Self::default();
        shape.on_edge(query);
        shape.judged(query);
        shape.with_named_flow(query);
        if !shape.terms.is_empty() {
            all.open(
                "EXISTS (SELECT 1 FROM breach JOIN shape ON shape.row = breach.shape JOIN edge ON edge.row = shape.edge
                    WHERE breach.finding = finding.row",
            );
            all.append(shape);
            all.close();
        }
        all
    }

    /// Narrows flows to those with one of the Community IDs that are asked for.
    pub(super) fn named(&mut self, query: &Query) {
        self.any(
            "community_id",
            query.community_id.iter().map(|id| Value::Integer(id.folded().cast_signed())),
        );
    }

    /// Continues after a position, in descending order of the columns.
    pub(super) fn after(&mut self, columns: &str, position: Option<Position>) {
        if let Some(Position { rank, start, name }) = position {
            self.terms.push(format!("({columns}) < (?, ?, ?)"));
            self.values.extend([Value::Integer(rank), Value::Integer(start), Value::Text(name)]);
        }
    }

    /// Adds a condition of its own.
    pub(super) fn and(&mut self, term: &str, values: impl IntoIterator<Item = Value>) {
        self.terms.push(term.into());
        self.values.extend(values);
    }

    /// Returns the conditions as one expression.
    pub(super) fn sql(&self) -> String {
        let mut sql = String::from("1");
        for term in &self.terms {
            sql.push_str(" AND ");
            sql.push_str(term);
        }
        // A bracketed group opens and closes as terms of their own.
        sql.replace(" AND )", ")")
    }

    fn on_edge(&mut self, query: &Query) {
        self.any("coalesce(edge.client_namespace, '')", query.from_namespace.iter().map(|word| text(word)));
        self.any("coalesce(edge.server_namespace, '')", query.to_namespace.iter().map(|word| text(word)));
        self.workload("client", &query.from_workload);
        self.workload("server", &query.to_workload);
        self.any("edge.class", query.class.iter().map(|word| text(word.name())));
        self.any("edge.proof", query.proof.iter().map(|word| text(word.name())));
        self.any("edge.port", query.port.iter().map(|port| Value::Integer(i64::from(*port))));
        self.any("edge.protocol", query.protocol.iter().map(|word| text(word.name())));
    }

    fn judged(&mut self, query: &Query) {
        self.any("shape.judgement", query.judgement.iter().map(|word| text(word.name())));
    }

    fn on_shape(&mut self, query: &Query) {
        self.judged(query);
        if !query.id.is_empty() || !query.severity.is_empty() {
            self.open(
                "EXISTS (SELECT 1 FROM breach JOIN finding ON finding.row = breach.finding WHERE breach.shape = shape.row",
            );
            self.on_finding(query);
            self.close();
        }
    }

    /// Narrows shapes to those of which a flow has one of the Community IDs.
    fn with_named_flow(&mut self, query: &Query) {
        if !query.community_id.is_empty() {
            self.open("shape.row IN (SELECT shape FROM flow INDEXED BY flow_by_time WHERE 1");
            self.named(query);
            self.close();
        }
    }

    fn append(&mut self, mut other: Self) {
        self.terms.append(&mut other.terms);
        self.values.append(&mut other.values);
    }

    fn on_finding(&mut self, query: &Query) {
        self.any("finding.id", query.id.iter().map(|word| text(word)));
        self.any("finding.rank", query.severity.iter().map(|word| Value::Integer(*word as i64)));
    }

    pub(super) fn times(&mut self, latest: &str, earliest: &str, query: &Query) {
        if let Some(since) = query.since {
            self.terms.push(format!("{latest} >= ?"));
            self.values.push(Value::Integer(since.as_nanos()));
        }
        if let Some(until) = query.until {
            self.terms.push(format!("{earliest} < ?"));
            self.values.push(Value::Integer(until.as_nanos()));
        }
    }

    /// Fits `name` by the workload alone and `namespace/name` by both; an address fits an end without a workload.
    fn workload(&mut self, end: &str, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let marks = vec!["?"; names.len()].join(", ");
        self.terms.push(format!("(edge.{end}_workload IN ({marks}) OR edge.{end}_name IN ({marks}))"));
        for _ in 0..2 {
            self.values.extend(names.iter().map(|word| text(word)));
        }
    }

    fn any(&mut self, column: &str, values: impl ExactSizeIterator<Item = Value>) {
        if values.len() > 0 {
            self.terms.push(format!("{column} IN ({})", vec!["?"; values.len()].join(", ")));
            self.values.extend(values);
        }
    }

    fn open(&mut self, start: &str) {
        self.terms.push(start.into());
    }

    fn close(&mut self) {
        self.terms.push(")".into());
    }
}

fn text(word: &str) -> Value {
    Value::Text(word.into())
}
