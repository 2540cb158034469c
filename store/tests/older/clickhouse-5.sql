-- The tables in ClickHouse as schema version 5 made them on one server.
CREATE TABLE IF NOT EXISTS wireproof_schema (version UInt32, at DateTime DEFAULT now()) ENGINE = MergeTree() ORDER BY version;
CREATE TABLE IF NOT EXISTS shape (
                hash UInt128,
                sent DateTime DEFAULT now(),
                edge String CODEC(ZSTD),
                client LowCardinality(String),
                client_kind LowCardinality(String),
                client_namespace LowCardinality(Nullable(String)),
                client_workload LowCardinality(Nullable(String)),
                server LowCardinality(String),
                server_kind LowCardinality(String),
                server_namespace LowCardinality(Nullable(String)),
                server_workload LowCardinality(Nullable(String)),
                transport LowCardinality(String),
                port UInt16,
                protocol LowCardinality(Nullable(String)),
                class LowCardinality(String),
                proof LowCardinality(String),
                proof_rank UInt8,
                judgement LowCardinality(String),
                violations Array(Tuple(String, LowCardinality(String), UInt8, UInt8, Nullable(String))),
                body String CODEC(ZSTD(3))
            ) ENGINE = ReplacingMergeTree(sent) ORDER BY hash;
CREATE TABLE IF NOT EXISTS flow (
    start DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    id UInt128 CODEC(NONE),
    version UInt64 CODEC(NONE),
    finish DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    server IPv6,
    client_port UInt16,
    close LowCardinality(String),
    packets_client UInt64 CODEC(T64, LZ4),
    packets_server UInt64 CODEC(T64, LZ4),
    bytes_client UInt64 CODEC(T64, LZ4),
    bytes_server UInt64 CODEC(T64, LZ4),
    shape UInt128,
                sign Int8,
                INDEX by_id id TYPE bloom_filter(0.001) GRANULARITY 4,
                PROJECTION hourly (
                    SELECT toStartOfHour(start), shape, sum(sign), sum(sign * toInt64(bytes_client + bytes_server)), min(start), max(finish)
                    GROUP BY toStartOfHour(start), shape
                )
            ) ENGINE = VersionedCollapsingMergeTree(sign, version)
            PARTITION BY toDate(start) ORDER BY (start, id)
            SETTINGS deduplicate_merge_projection_mode = 'rebuild';
CREATE TABLE IF NOT EXISTS arrival (
    start DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    id UInt128 CODEC(NONE),
    version UInt64 CODEC(NONE),
    finish DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    server IPv6,
    client_port UInt16,
    close LowCardinality(String),
    packets_client UInt64 CODEC(T64, LZ4),
    packets_server UInt64 CODEC(T64, LZ4),
    bytes_client UInt64 CODEC(T64, LZ4),
    bytes_server UInt64 CODEC(T64, LZ4),
    shape UInt128) ENGINE = Null;
CREATE MATERIALIZED VIEW IF NOT EXISTS arrive TO flow AS SELECT start, id, version, any(finish) AS finish, any(server) AS server, any(client_port) AS client_port,
            any(close) AS close, any(packets_client) AS packets_client, any(packets_server) AS packets_server,
            any(bytes_client) AS bytes_client, any(bytes_server) AS bytes_server, any(shape) AS shape, 
            arrayJoin(arrayWithConstant(toUInt64(abs(sum(wanted))), toInt8(sign(sum(wanted))))) AS sign
         FROM (
            SELECT *, toInt64(1) AS wanted FROM arrival
            UNION ALL
            SELECT * EXCEPT (sign), -toInt64(sign) AS wanted FROM flow
            WHERE (start, id) IN (SELECT start, id FROM arrival)
         )
         GROUP BY start, id, version;
CREATE TABLE IF NOT EXISTS source (
                name String, at DateTime64(9, 'UTC') DEFAULT now64(9), coverage String
            ) ENGINE = ReplacingMergeTree(at) ORDER BY name;
CREATE TABLE IF NOT EXISTS mesh (
                id String, taken_at Int64, manifests String CODEC(ZSTD(3))
            ) ENGINE = ReplacingMergeTree(taken_at) ORDER BY id;
CREATE TABLE IF NOT EXISTS mesh_since (
                since Int64, id String, at DateTime64(9, 'UTC') DEFAULT now64(9)
            ) ENGINE = ReplacingMergeTree(at) ORDER BY since;
ALTER TABLE flow MODIFY SETTING ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1,
            merge_with_ttl_timeout = 3600;
ALTER TABLE flow ADD COLUMN IF NOT EXISTS tcp_handshake Nullable(UInt64) CODEC(NONE), ADD COLUMN IF NOT EXISTS translated Nullable(String) CODEC(ZSTD);
ALTER TABLE arrival ADD COLUMN IF NOT EXISTS tcp_handshake Nullable(UInt64) CODEC(NONE), ADD COLUMN IF NOT EXISTS translated Nullable(String) CODEC(ZSTD);
ALTER TABLE arrive MODIFY QUERY SELECT start, id, version, any(finish) AS finish, any(server) AS server, any(client_port) AS client_port,
            any(close) AS close, any(packets_client) AS packets_client, any(packets_server) AS packets_server,
            any(bytes_client) AS bytes_client, any(bytes_server) AS bytes_server, any(shape) AS shape, any(tcp_handshake) AS tcp_handshake, any(translated) AS translated, 
            arrayJoin(arrayWithConstant(toUInt64(abs(sum(wanted))), toInt8(sign(sum(wanted))))) AS sign
         FROM (
            SELECT *, toInt64(1) AS wanted FROM arrival
            UNION ALL
            SELECT * EXCEPT (sign), -toInt64(sign) AS wanted FROM flow
            WHERE (start, id) IN (SELECT start, id FROM arrival)
         )
         GROUP BY start, id, version;
ALTER TABLE shape ADD COLUMN IF NOT EXISTS
                set_aside LowCardinality(Nullable(String)) DEFAULT JSONExtract(body, 'set_aside', 'Nullable(String)');
ALTER TABLE shape MATERIALIZE COLUMN set_aside;
INSERT INTO wireproof_schema (version) VALUES (1), (2), (3), (4), (5);
