-- Written so that PostgreSQL can stand beside SQLite: no rowid tricks, integers for
-- times (milliseconds since 1970), BLOB keys of 16 bytes.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- A log is one topic of one cluster. Cursors belong to a log, never to a topic's name.
CREATE TABLE logs (
    id       INTEGER PRIMARY KEY,
    cluster  TEXT NOT NULL,
    topic    TEXT NOT NULL,
    seen_ms  INTEGER NOT NULL,
    UNIQUE (cluster, topic)
);

CREATE TABLE plugins (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE plugin_versions (
    id        INTEGER PRIMARY KEY,
    plugin_id INTEGER NOT NULL REFERENCES plugins (id),
    version   TEXT NOT NULL,
    sha256    TEXT NOT NULL,
    loaded_ms INTEGER NOT NULL,
    UNIQUE (plugin_id, sha256)
);

-- plugin_id 0 is the head: the row that all lanes share that have no row of their own.
CREATE TABLE cursors (
    log_id       INTEGER NOT NULL,
    partition    INTEGER NOT NULL,
    plugin_id    INTEGER NOT NULL,
    next_offset  INTEGER NOT NULL,
    logged_at_ms INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    retry_at_ms  INTEGER,
    last_error   TEXT,
    PRIMARY KEY (log_id, partition, plugin_id)
) WITHOUT ROWID;

CREATE TABLE streams (
    id              INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    last_offset     INTEGER NOT NULL,
    last_visible_ms INTEGER NOT NULL DEFAULT 0,
    trimmed_through INTEGER NOT NULL DEFAULT 0
);

-- Rows are long, so they stand in the order of arrival and not in the order of the key.
CREATE TABLE notifications (
    id               BLOB NOT NULL PRIMARY KEY,
    stream_id        INTEGER NOT NULL,
    stream_offset    INTEGER,            -- NULL until visible
    withdraws        INTEGER NOT NULL,   -- 1: this entry takes back what its collapse key names
    plugin_id        INTEGER NOT NULL,
    version_id       INTEGER NOT NULL,
    event_id         TEXT NOT NULL,
    kind             TEXT NOT NULL,
    log_id           INTEGER NOT NULL,
    partition        INTEGER NOT NULL,
    record_offset    INTEGER NOT NULL,
    category         TEXT NOT NULL,
    title            TEXT NOT NULL,
    body             TEXT NOT NULL,
    data             TEXT,
    link             TEXT,
    channels         TEXT,
    priority         INTEGER NOT NULL,
    collapse_key     TEXT,
    deliver_at_ms    INTEGER,
    expires_at_ms    INTEGER,
    digest_key       TEXT,
    digest_window_ms INTEGER,
    created_ms       INTEGER NOT NULL,
    visible_ms       INTEGER,            -- when it became visible; rises with the offsets of a stream
    correlation_id   TEXT,
    hidden           INTEGER NOT NULL DEFAULT 0   -- 1: withdrawn or replaced by a newer one
);
CREATE UNIQUE INDEX notifications_by_stream ON notifications (stream_id, stream_offset) WHERE stream_offset IS NOT NULL;
CREATE INDEX notifications_waiting ON notifications (deliver_at_ms) WHERE stream_offset IS NULL AND hidden = 0;
CREATE INDEX notifications_collapsing ON notifications (stream_id, plugin_id, collapse_key) WHERE collapse_key IS NOT NULL AND hidden = 0;

CREATE TABLE plugin_state (
    plugin_id     INTEGER NOT NULL,
    key           TEXT NOT NULL,
    value         BLOB NOT NULL,
    expires_at_ms INTEGER,
    PRIMARY KEY (plugin_id, key)
) WITHOUT ROWID;
CREATE INDEX plugin_state_expiring ON plugin_state (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- One number a plugin: it rises with every commit that touches the plugin's state, so
-- that a commit computed from older values is noticed.
CREATE TABLE plugin_state_versions (
    plugin_id INTEGER PRIMARY KEY,
    version   INTEGER NOT NULL
);

CREATE TABLE dead_letters (
    id           INTEGER PRIMARY KEY,
    log_id       INTEGER NOT NULL,
    partition    INTEGER NOT NULL,
    record_offset INTEGER NOT NULL,
    plugin_id    INTEGER NOT NULL,      -- 0: intake, what could not be decoded
    version_id   INTEGER NOT NULL,
    event_id     TEXT,
    code         TEXT NOT NULL,
    reason       TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    record_key   BLOB,
    record_value BLOB,
    record_headers TEXT NOT NULL,
    logged_at_ms INTEGER NOT NULL,
    created_ms   INTEGER NOT NULL,
    relayed_ms   INTEGER,
    UNIQUE (log_id, partition, record_offset, plugin_id)
);
CREATE INDEX dead_letters_to_relay ON dead_letters (id) WHERE relayed_ms IS NULL;

-- The tables decisions_<hour> that exist; they are made and dropped as time goes on.
CREATE TABLE decision_hours (
    hour INTEGER PRIMARY KEY
);

-- What never became visible and never will: expired on arrival, or replaced while it waited.
CREATE INDEX notifications_aside ON notifications (created_ms) WHERE stream_offset IS NULL AND hidden = 1;
