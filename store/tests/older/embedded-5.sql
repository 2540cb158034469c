-- The embedded store as schema version 5 made it.
CREATE TABLE source (name TEXT PRIMARY KEY, coverage TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE mesh (
    id TEXT PRIMARY KEY,
    taken_at INTEGER NOT NULL,
    manifests TEXT NOT NULL
);
CREATE TABLE mesh_since (since INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE edge (
    row INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    client_name TEXT NOT NULL,
    client_kind TEXT NOT NULL,
    client_namespace TEXT,
    client_workload TEXT,
    server_name TEXT NOT NULL,
    server_kind TEXT NOT NULL,
    server_namespace TEXT,
    server_workload TEXT,
    transport TEXT NOT NULL,
    port INTEGER NOT NULL,
    protocol TEXT,
    class TEXT NOT NULL,
    proof TEXT NOT NULL,
    flows INTEGER NOT NULL DEFAULT 0,
    violating INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    first_seen INTEGER NOT NULL DEFAULT 0,
    last_seen INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE shape (
    row INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    edge INTEGER NOT NULL REFERENCES edge (row),
    judgement TEXT NOT NULL,
    proof INTEGER NOT NULL,
    flows INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    first_seen INTEGER NOT NULL DEFAULT 9223372036854775807,
    last_seen INTEGER NOT NULL DEFAULT -9223372036854775808,
    body TEXT NOT NULL
, set_aside TEXT);
CREATE TABLE flow (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    shape INTEGER NOT NULL,
    start INTEGER NOT NULL,
    finish INTEGER NOT NULL,
    client_port INTEGER NOT NULL,
    close TEXT NOT NULL,
    packets_client INTEGER NOT NULL,
    packets_server INTEGER NOT NULL,
    bytes_client INTEGER NOT NULL,
    bytes_server INTEGER NOT NULL
, tcp_handshake INTEGER, translated TEXT);
CREATE TABLE hour (
    hour INTEGER NOT NULL,
    shape INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (hour, shape)
) WITHOUT ROWID;
CREATE TABLE finding (
    row INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    id TEXT NOT NULL,
    rank INTEGER NOT NULL,
    cause TEXT,
    flows INTEGER NOT NULL DEFAULT 0,
    proof INTEGER NOT NULL DEFAULT 0,
    certainty INTEGER NOT NULL DEFAULT 0,
    first_seen INTEGER NOT NULL DEFAULT 0,
    last_seen INTEGER NOT NULL DEFAULT 0,
    edge INTEGER NOT NULL
);
CREATE TABLE breach (
    finding INTEGER NOT NULL,
    shape INTEGER NOT NULL,
    certainty INTEGER NOT NULL,
    PRIMARY KEY (finding, shape)
) WITHOUT ROWID;
CREATE INDEX mesh_by_time ON mesh (taken_at);
CREATE INDEX edge_by_time ON edge (first_seen, identity);
CREATE INDEX shape_by_edge ON shape (edge);
CREATE INDEX flow_by_shape ON flow (shape, start, id);
CREATE INDEX finding_by_rank ON finding (rank, first_seen, key);
CREATE INDEX breach_by_shape ON breach (shape);
CREATE INDEX flow_by_time ON flow (start, id, shape, tcp_handshake);
PRAGMA application_id = 0x77707266;
PRAGMA user_version = 5;
