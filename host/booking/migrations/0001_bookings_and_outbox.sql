-- Times are milliseconds since the epoch. Identifiers of bookings are UUIDs of version 7, so that
-- rows made one after another stand beside each other.

CREATE TABLE resources (
    id                TEXT    NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    capacity          INTEGER NOT NULL CHECK (capacity > 0),
    requires_approval INTEGER NOT NULL CHECK (requires_approval IN (0, 1)),
    created_ms        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id           TEXT    NOT NULL PRIMARY KEY,
    display_name TEXT    NOT NULL,
    email        TEXT    NOT NULL,
    time_zone    TEXT    NOT NULL,
    locale       TEXT    NOT NULL,
    created_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bookings (
    id              TEXT    NOT NULL PRIMARY KEY,
    resource_id     TEXT    NOT NULL REFERENCES resources (id),
    user_id         TEXT    NOT NULL REFERENCES users (id),
    title           TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN
                        ('pending', 'confirmed', 'checked_in', 'checked_out', 'cancelled', 'no_show')),
    start_ms        INTEGER NOT NULL,
    end_ms          INTEGER NOT NULL CHECK (end_ms > start_ms),
    attendees_count INTEGER NOT NULL CHECK (attendees_count > 0),
    version         INTEGER NOT NULL DEFAULT 1,
    created_ms      INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,
    -- 31 days. Searches for a time look this far back for bookings that reach into it.
    CHECK (end_ms - start_ms <= 2678400000)
) STRICT;

CREATE INDEX bookings_by_start ON bookings (start_ms, id);
CREATE INDEX bookings_by_resource ON bookings (resource_id, start_ms, id);

-- The bookings that hold their resource. The two triggers below walk this index.
CREATE INDEX bookings_holding ON bookings (resource_id, start_ms, end_ms)
    WHERE status IN ('pending', 'confirmed', 'checked_in');

-- No two bookings hold one resource at one time: intervals are half open, [start, end).
-- Since the bookings that stand do not overlap each other, only the last of them that starts before
-- the new one ends can overlap the new one, so one look-up is enough.
CREATE TRIGGER bookings_insert_no_overlap
BEFORE INSERT ON bookings
WHEN NEW.status IN ('pending', 'confirmed', 'checked_in')
BEGIN
    SELECT RAISE(ABORT, 'booking-overlap')
    WHERE NEW.start_ms < (
        SELECT held.end_ms FROM bookings AS held
        WHERE held.resource_id = NEW.resource_id
          AND held.status IN ('pending', 'confirmed', 'checked_in')
          AND held.start_ms < NEW.end_ms
          AND held.id <> NEW.id
        ORDER BY held.start_ms DESC LIMIT 1
    );
END;

CREATE TRIGGER bookings_update_no_overlap
BEFORE UPDATE OF id, resource_id, status, start_ms, end_ms ON bookings
WHEN NEW.status IN ('pending', 'confirmed', 'checked_in')
BEGIN
    SELECT RAISE(ABORT, 'booking-overlap')
    WHERE NEW.start_ms < (
        SELECT held.end_ms FROM bookings AS held
        WHERE held.resource_id = NEW.resource_id
          AND held.status IN ('pending', 'confirmed', 'checked_in')
          AND held.start_ms < NEW.end_ms
          AND held.id <> OLD.id
        ORDER BY held.start_ms DESC LIMIT 1
    );
END;

-- What is to be told to the world, written in the transaction of the change that it tells.
CREATE TABLE outbox (
    seq        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- the order of the changes
    event_id   TEXT    NOT NULL UNIQUE,
    topic      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    value      BLOB    NOT NULL, -- the record as it goes out, so that sending again sends the same
    created_ms INTEGER NOT NULL,
    sent_ms    INTEGER           -- null until the log has acknowledged it
) STRICT;

CREATE INDEX outbox_unsent ON outbox (seq) WHERE sent_ms IS NULL;
