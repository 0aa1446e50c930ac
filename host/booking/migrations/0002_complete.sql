-- The whole service: rules of resources, holds, series, the waitlist, conflicts, unavailability,
-- idempotency keys, calendar feeds, the audit record, leases.

ALTER TABLE resources ADD COLUMN place      TEXT    NOT NULL DEFAULT '';
ALTER TABLE resources ADD COLUMN time_zone  TEXT    NOT NULL DEFAULT 'UTC';
ALTER TABLE resources ADD COLUMN rules      TEXT    NOT NULL DEFAULT '{}'; -- JSON, `rules.rs`
ALTER TABLE resources ADD COLUMN version    INTEGER NOT NULL DEFAULT 1;
ALTER TABLE resources ADD COLUMN updated_ms INTEGER NOT NULL DEFAULT 0;
-- What was deleted keeps its row: bookings of the past name it.
ALTER TABLE resources ADD COLUMN deleted_ms INTEGER;

ALTER TABLE users ADD COLUMN version    INTEGER NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN updated_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN deleted_ms INTEGER;

CREATE INDEX resources_by_kind ON resources (kind, capacity) WHERE deleted_ms IS NULL;
-- For lists, which are in the order of ids.
CREATE INDEX resources_of_kind ON resources (kind, id) WHERE deleted_ms IS NULL;
CREATE INDEX resources_at_place ON resources (place, id) WHERE deleted_ms IS NULL;

CREATE TABLE series (
    id              TEXT    NOT NULL PRIMARY KEY,
    resource_id     TEXT    NOT NULL REFERENCES resources (id),
    user_id         TEXT    NOT NULL REFERENCES users (id),
    rule            TEXT    NOT NULL, -- RRULE, RFC 5545
    time_zone       TEXT    NOT NULL, -- occurrences keep their time of day in it
    first_local     TEXT    NOT NULL, -- the first occurrence, without an offset
    duration_ms     INTEGER NOT NULL CHECK (duration_ms > 0),
    version         INTEGER NOT NULL DEFAULT 1,
    created_ms      INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL
) STRICT;

-- A constraint cannot be changed in place: the table is made anew.
DROP TRIGGER bookings_insert_no_overlap;
DROP TRIGGER bookings_update_no_overlap;
ALTER TABLE bookings RENAME TO bookings_0001;

CREATE TABLE bookings (
    id               TEXT    NOT NULL PRIMARY KEY,
    resource_id      TEXT    NOT NULL REFERENCES resources (id),
    user_id          TEXT    NOT NULL REFERENCES users (id),
    title            TEXT    NOT NULL,
    status           TEXT    NOT NULL CHECK (status IN
                         ('held', 'pending', 'confirmed', 'checked_in',
                          'checked_out', 'cancelled', 'no_show', 'expired')),
    start_ms         INTEGER NOT NULL,
    end_ms           INTEGER NOT NULL CHECK (end_ms > start_ms),
    -- Until when it keeps others from the resource: its end, and after it the time that the resource
    -- needs before it is free again. Null once it keeps nobody.
    blocked_until_ms INTEGER CHECK (blocked_until_ms > start_ms),
    attendees_count  INTEGER NOT NULL CHECK (attendees_count > 0),
    series_id        TEXT    REFERENCES series (id),
    -- When the occurrence of the series would begin, whatever was changed since.
    occurrence_ms    INTEGER,
    -- Until when it waits for the one it is held for.
    hold_until_ms    INTEGER CHECK ((hold_until_ms IS NULL) = (status <> 'held')),
    -- When its people left, within its time. Null where they have not, or left before this was kept.
    left_ms          INTEGER CHECK (left_ms IS NULL OR status = 'checked_out'),
    -- When its state, time, resource or user last became another; null where they are as it was made.
    -- From then on it can be missed: whoever changes its title is not waited for any longer.
    settled_ms       INTEGER,
    version          INTEGER NOT NULL DEFAULT 1,
    created_ms       INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    -- 31 days. Searches for a time look this far back for bookings that reach into it.
    CHECK (end_ms - start_ms <= 2678400000),
    -- A day.
    CHECK (blocked_until_ms - end_ms <= 86400000),
    -- Who has left may leave time behind in which the resource is made ready.
    CHECK (CASE WHEN status IN ('held', 'pending', 'confirmed', 'checked_in')
                THEN blocked_until_ms IS NOT NULL AND blocked_until_ms >= end_ms
                ELSE status = 'checked_out' OR blocked_until_ms IS NULL END)
) STRICT;

INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms, blocked_until_ms,
                      attendees_count, version, created_ms, updated_ms)
SELECT id, resource_id, user_id, title, status, start_ms, end_ms,
       CASE WHEN status IN ('pending', 'confirmed', 'checked_in') THEN end_ms END,
       attendees_count, version, created_ms, updated_ms
FROM bookings_0001;
DROP TABLE bookings_0001;

CREATE INDEX bookings_by_start ON bookings (start_ms, id);
CREATE INDEX bookings_by_resource ON bookings (resource_id, start_ms, id);
CREATE INDEX bookings_by_user ON bookings (user_id, start_ms, id);
CREATE INDEX bookings_by_series ON bookings (series_id, occurrence_ms) WHERE series_id IS NOT NULL;
CREATE INDEX bookings_held ON bookings (hold_until_ms) WHERE status = 'held';
CREATE INDEX bookings_awaited ON bookings (resource_id, start_ms) WHERE status = 'confirmed';
CREATE INDEX bookings_inside ON bookings (end_ms) WHERE status = 'checked_in';
CREATE INDEX bookings_unapproved ON bookings (start_ms) WHERE status = 'pending';

-- The bookings that keep others from their resource. The two triggers below walk this index, and
-- whoever asks when a resource is free reads nothing else.
CREATE INDEX bookings_holding ON bookings (resource_id, start_ms, blocked_until_ms)
    WHERE blocked_until_ms IS NOT NULL;

-- No two bookings hold one resource at one time: intervals are half open, [start, blocked until).
-- Since the bookings that stand do not overlap each other, only the last of them that starts before
-- the new one ends can overlap the new one, so one look-up is enough.
CREATE TRIGGER bookings_insert_no_overlap
BEFORE INSERT ON bookings
WHEN NEW.blocked_until_ms IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'booking-overlap')
    WHERE NEW.start_ms < (
        SELECT held.blocked_until_ms FROM bookings AS held
        WHERE held.resource_id = NEW.resource_id
          AND held.blocked_until_ms IS NOT NULL
          AND held.start_ms < NEW.blocked_until_ms
          AND held.id <> NEW.id
        ORDER BY held.start_ms DESC LIMIT 1
    );
END;

CREATE TRIGGER bookings_update_no_overlap
BEFORE UPDATE OF id, resource_id, status, start_ms, end_ms, blocked_until_ms ON bookings
WHEN NEW.blocked_until_ms IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'booking-overlap')
    WHERE NEW.start_ms < (
        SELECT held.blocked_until_ms FROM bookings AS held
        WHERE held.resource_id = NEW.resource_id
          AND held.blocked_until_ms IS NOT NULL
          AND held.start_ms < NEW.blocked_until_ms
          AND held.id <> OLD.id
        ORDER BY held.start_ms DESC LIMIT 1
    );
END;

CREATE TRIGGER bookings_left AFTER UPDATE OF status ON bookings
WHEN NEW.status = 'checked_out' AND OLD.status <> 'checked_out'
BEGIN
    UPDATE bookings SET left_ms = max(NEW.start_ms, min(NEW.end_ms, NEW.updated_ms))
    WHERE id = NEW.id;
END;

CREATE TRIGGER bookings_settled AFTER UPDATE OF status, start_ms, end_ms, resource_id, user_id ON bookings
WHEN NEW.status <> OLD.status OR NEW.start_ms <> OLD.start_ms OR NEW.end_ms <> OLD.end_ms
  OR NEW.resource_id <> OLD.resource_id OR NEW.user_id <> OLD.user_id
BEGIN
    UPDATE bookings SET settled_ms = NEW.updated_ms WHERE id = NEW.id;
END;

-- The id of the request that an event follows from, for the record's headers.
ALTER TABLE outbox ADD COLUMN correlation_id TEXT NOT NULL DEFAULT '';
-- Whether the row stays for the duplicate window once it is sent.
ALTER TABLE outbox ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 1 CHECK (is_kept IN (0, 1));

-- Times at which a resource cannot be used. Bookings that were there before stay, in conflict with
-- it; none is added, and none is moved into it.
CREATE TABLE unavailabilities (
    id          TEXT    NOT NULL PRIMARY KEY,
    resource_id TEXT    NOT NULL REFERENCES resources (id),
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL CHECK (end_ms > start_ms),
    reason      TEXT    NOT NULL,
    created_ms  INTEGER NOT NULL,
    -- Five years. Searches for a time look this far back for those that reach into it.
    CHECK (end_ms - start_ms <= 158112000000)
) STRICT;

CREATE INDEX unavailabilities_by_end ON unavailabilities (resource_id, end_ms, start_ms);
CREATE INDEX unavailabilities_by_start ON unavailabilities (resource_id, start_ms, id);

CREATE TRIGGER bookings_insert_available
BEFORE INSERT ON bookings
WHEN NEW.blocked_until_ms IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'resource-unavailable')
    WHERE EXISTS (
        SELECT 1 FROM unavailabilities AS closed
        WHERE closed.resource_id = NEW.resource_id
          AND closed.end_ms > NEW.start_ms AND closed.start_ms < NEW.end_ms
    );
END;

CREATE TRIGGER bookings_update_available
BEFORE UPDATE OF resource_id, start_ms, end_ms ON bookings
WHEN NEW.blocked_until_ms IS NOT NULL
 AND (NEW.resource_id <> OLD.resource_id OR NEW.start_ms < OLD.start_ms OR NEW.end_ms > OLD.end_ms)
BEGIN
    SELECT RAISE(ABORT, 'resource-unavailable')
    WHERE EXISTS (
        SELECT 1 FROM unavailabilities AS closed
        WHERE closed.resource_id = NEW.resource_id
          AND closed.end_ms > NEW.start_ms AND closed.start_ms < NEW.end_ms
    );
END;

CREATE TABLE waitlist (
    id              TEXT    NOT NULL PRIMARY KEY,
    resource_id     TEXT    NOT NULL REFERENCES resources (id),
    user_id         TEXT    NOT NULL REFERENCES users (id),
    title           TEXT    NOT NULL,
    attendees_count INTEGER NOT NULL CHECK (attendees_count > 0),
    start_ms        INTEGER NOT NULL,
    end_ms          INTEGER NOT NULL CHECK (end_ms > start_ms),
    priority        INTEGER NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN
                        ('waiting', 'promoted', 'accepted', 'expired', 'removed')),
    -- The booking that is held for it, and becomes its own.
    booking_id      TEXT    REFERENCES bookings (id),
    version         INTEGER NOT NULL DEFAULT 1,
    joined_ms       INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,
    CHECK ((booking_id IS NOT NULL) OR status IN ('waiting', 'expired', 'removed'))
) STRICT;

-- In the order in which they are asked; with their times, so that a place in the queue is counted
-- in the index alone.
CREATE INDEX waitlist_waiting ON waitlist (resource_id, priority DESC, joined_ms, id, start_ms, end_ms, status)
    WHERE status = 'waiting';
CREATE INDEX waitlist_by_start ON waitlist (start_ms) WHERE status = 'waiting';
CREATE INDEX waitlist_by_resource ON waitlist (resource_id, joined_ms, id) WHERE status <> 'removed';
CREATE INDEX waitlist_by_user ON waitlist (user_id, resource_id, joined_ms, id);
-- What one waits for. `waitlist_once` begins with the resource, `waitlist_by_user` holds all that was ever
-- waited for.
CREATE INDEX waitlist_of_user ON waitlist (user_id, joined_ms, id)
    WHERE status IN ('waiting', 'promoted');
CREATE UNIQUE INDEX waitlist_by_booking ON waitlist (booking_id) WHERE booking_id IS NOT NULL;
-- Nobody waits twice for the same.
CREATE UNIQUE INDEX waitlist_once ON waitlist (resource_id, user_id, start_ms, end_ms)
    WHERE status IN ('waiting', 'promoted');

-- Conflicts that were told, until some time after the end of what was wanted.
CREATE TABLE conflicts (
    id          TEXT    NOT NULL PRIMARY KEY,
    -- The booking that could not be made (it never was), or that lost its time.
    booking_id  TEXT    NOT NULL,
    resource_id TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL,
    attendees_count INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    resolved_ms INTEGER,
    -- What was booked instead.
    resolved_by TEXT,
    -- The unavailability that took the time of a booking that stands.
    unavailability_id TEXT
) STRICT;

CREATE INDEX conflicts_by_booking ON conflicts (booking_id) WHERE resolved_ms IS NULL;
CREATE INDEX conflicts_by_closure ON conflicts (unavailability_id)
    WHERE resolved_ms IS NULL AND unavailability_id IS NOT NULL;
-- What somebody was refused, for when they get it after all.
CREATE INDEX conflicts_of_time ON conflicts (user_id, resource_id, start_ms, end_ms)
    WHERE resolved_ms IS NULL;
CREATE INDEX conflicts_by_end ON conflicts (end_ms);

-- What a request with an Idempotency-Key was answered.
CREATE TABLE idempotency (
    scope      TEXT    NOT NULL, -- who asked, and which path
    key        TEXT    NOT NULL,
    body_hash  BLOB    NOT NULL,
    outcome    TEXT    NOT NULL, -- JSON
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (created_ms);

-- Calendars that can be read by who knows their address. Only its hash is kept.
CREATE TABLE feeds (
    secret_hash BLOB    NOT NULL PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    kind        TEXT    NOT NULL CHECK (kind IN ('resource', 'user')),
    subject_id  TEXT    NOT NULL,
    created_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX feeds_by_subject ON feeds (kind, subject_id, created_ms, id);

-- Who did what. It is added to, and nothing else.
CREATE TABLE audit (
    seq            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms          INTEGER NOT NULL,
    actor          TEXT    NOT NULL,
    role           TEXT    NOT NULL,
    origin         TEXT,              -- the address that the request came from
    correlation_id TEXT    NOT NULL,
    action         TEXT    NOT NULL,  -- the kind of event that tells of it, or a word of its own
    subject_kind   TEXT    NOT NULL,
    subject_id     TEXT    NOT NULL,
    before         TEXT,              -- JSON
    after          TEXT               -- JSON
) STRICT;

-- One for each filter, and in the order in which entries are read.
CREATE INDEX audit_by_subject ON audit (subject_kind, subject_id, at_ms, seq);
CREATE INDEX audit_by_actor ON audit (actor, at_ms, seq);
CREATE INDEX audit_by_action ON audit (action, at_ms, seq);
CREATE INDEX audit_by_correlation ON audit (correlation_id, at_ms, seq);
CREATE INDEX audit_by_time ON audit (at_ms, seq);

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is not changed'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is not cut'); END;

-- Which node does what only one may do: sweeping.
CREATE TABLE leases (
    name     TEXT    NOT NULL PRIMARY KEY,
    holder   TEXT    NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
