-- What operators do: which binaries were loaded and which of them runs, candidates beside
-- it, the audit, the watched folder.

-- Whether the lanes of a plugin keep their place while it is not loaded: it is installed,
-- built in, or the shadow of a running trial. All that ran before this table knew of it do,
-- until they are removed.
ALTER TABLE plugins ADD COLUMN keeps_place INTEGER NOT NULL DEFAULT 0;
UPDATE plugins SET keeps_place = 1;

-- By content: loaded ten times, kept once.
CREATE TABLE binaries (
    sha256    TEXT PRIMARY KEY,
    bytes     BLOB NOT NULL,
    signature BLOB
);

CREATE TABLE plugin_loads (
    id            INTEGER PRIMARY KEY,
    plugin_id     INTEGER NOT NULL REFERENCES plugins (id),
    version_id    INTEGER NOT NULL REFERENCES plugin_versions (id),
    state_version INTEGER NOT NULL,
    settings      TEXT NOT NULL,        -- a JSON object
    at_ms         INTEGER NOT NULL,
    who           TEXT NOT NULL,
    origin        TEXT NOT NULL,
    action        TEXT NOT NULL,        -- load, rollback, settings, promote
    pruned        INTEGER NOT NULL DEFAULT 0   -- 1: its binary may be gone; the row stays for those who explain
);
CREATE INDEX plugin_loads_by_plugin ON plugin_loads (plugin_id, id);
CREATE INDEX plugin_loads_by_version ON plugin_loads (version_id, id);

CREATE TABLE installs (
    plugin_id INTEGER PRIMARY KEY REFERENCES plugins (id),
    load_id   INTEGER NOT NULL REFERENCES plugin_loads (id),
    run_state TEXT NOT NULL,            -- active, paused, quarantined
    since_ms  INTEGER,                  -- NULL while active
    reason    TEXT,                     -- of a quarantine
    probes    INTEGER NOT NULL DEFAULT 0
);

-- A candidate beside the active version. What was dropped of its answers stays counted.
CREATE TABLE trials (
    id                  INTEGER PRIMARY KEY,
    plugin_id           INTEGER NOT NULL REFERENCES plugins (id),
    candidate_plugin_id INTEGER NOT NULL REFERENCES plugins (id),   -- the shadow's own; a canary has the plugin's
    active_load_id      INTEGER NOT NULL REFERENCES plugin_loads (id),
    load_id             INTEGER NOT NULL REFERENCES plugin_loads (id),
    mode                TEXT NOT NULL,  -- shadow, canary
    percent             INTEGER,        -- of a canary
    abort_after         INTEGER,        -- faults
    since_ms            INTEGER NOT NULL,
    ended_ms            INTEGER,
    dropped_equal          INTEGER NOT NULL DEFAULT 0,
    dropped_different      INTEGER NOT NULL DEFAULT 0,
    dropped_only_active    INTEGER NOT NULL DEFAULT 0,
    dropped_only_candidate INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX trials_by_plugin ON trials (plugin_id, id);
CREATE UNIQUE INDEX trials_running ON trials (plugin_id) WHERE ended_ms IS NULL;

CREATE TABLE trial_answers (
    trial_id      INTEGER NOT NULL,
    event_key     BLOB NOT NULL,
    side          INTEGER NOT NULL,     -- 0: active, 1: candidate
    event_id      TEXT NOT NULL,
    kind          TEXT NOT NULL,
    log_id        INTEGER NOT NULL,
    partition     INTEGER NOT NULL,
    record_offset INTEGER NOT NULL,
    outcome       TEXT NOT NULL,
    detail        TEXT,
    digest        INTEGER NOT NULL,
    took_us       INTEGER NOT NULL,
    actions       TEXT NOT NULL,        -- JSON
    PRIMARY KEY (trial_id, event_key, side)
) WITHOUT ROWID;

-- Times and faults of answers that were dropped; times in steps of at most a sixteenth.
CREATE TABLE trial_tallies (
    trial_id INTEGER NOT NULL,
    side     INTEGER NOT NULL,
    took_us  INTEGER NOT NULL,
    answers  INTEGER NOT NULL,
    faults   INTEGER NOT NULL,
    PRIMARY KEY (trial_id, side, took_us)
) WITHOUT ROWID;

-- Only ever added to.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    who     TEXT NOT NULL,
    address TEXT,                       -- where the request came from
    action  TEXT NOT NULL,
    plugin  TEXT,
    detail  TEXT NOT NULL,              -- JSON
    outcome TEXT NOT NULL
);
CREATE INDEX audit_by_plugin ON audit (plugin, id) WHERE plugin IS NOT NULL;

-- What each file of the watched folder last held.
CREATE TABLE watched_files (
    file   TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL
);

-- Dead letters can be deleted from now on, and operators name them by their numbers: a
-- number must never come again, which SQLite promises only for AUTOINCREMENT (PostgreSQL
-- does for an identity).
CREATE TABLE dead_letters_kept (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
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
INSERT INTO dead_letters_kept SELECT id, log_id, partition, record_offset, plugin_id, version_id, event_id, code,
    reason, attempts, record_key, record_value, record_headers, logged_at_ms, created_ms, relayed_ms FROM dead_letters;
DROP TABLE dead_letters;
ALTER TABLE dead_letters_kept RENAME TO dead_letters;
CREATE INDEX dead_letters_to_relay ON dead_letters (id) WHERE relayed_ms IS NULL;
CREATE INDEX dead_letters_by_plugin ON dead_letters (plugin_id, id);
CREATE INDEX dead_letters_of_event ON dead_letters (event_id) WHERE event_id IS NOT NULL;

-- What a record led to.
CREATE INDEX notifications_by_record ON notifications (log_id, partition, record_offset);
