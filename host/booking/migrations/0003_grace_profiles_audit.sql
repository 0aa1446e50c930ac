-- When a booking can be missed; what somebody waits for over all resources; what is left of users
-- who were deleted; the audit record by each of its filters.

-- When its state, start or resource last became another. From then on it can be missed: whoever
-- changes its title is not waited for any longer.
ALTER TABLE bookings ADD COLUMN settled_ms INTEGER NOT NULL DEFAULT 0;
UPDATE bookings SET settled_ms = updated_ms WHERE status IN ('confirmed', 'pending');

-- `waitlist_once` begins with the resource, and `waitlist_by_user` holds all that was ever waited for.
CREATE INDEX waitlist_of_user ON waitlist (user_id, joined_ms, id)
    WHERE status IN ('waiting', 'promoted');

-- Their profiles are erased when they are deleted.
UPDATE users SET display_name = '', email = '', time_zone = 'UTC', locale = 'en'
WHERE deleted_ms IS NOT NULL;
-- Their calendars go with them, and those of resources as well.
DELETE FROM feeds WHERE kind = 'user'
    AND subject_id IN (SELECT id FROM users WHERE deleted_ms IS NOT NULL);
DELETE FROM feeds WHERE kind = 'resource'
    AND subject_id IN (SELECT id FROM resources WHERE deleted_ms IS NOT NULL);

-- One for each filter, and in the order in which entries are read.
DROP INDEX audit_by_subject;
DROP INDEX audit_by_actor;
DROP INDEX audit_by_correlation;
CREATE INDEX audit_by_subject ON audit (subject_kind, subject_id, at_ms, seq);
CREATE INDEX audit_by_actor ON audit (actor, at_ms, seq);
CREATE INDEX audit_by_action ON audit (action, at_ms, seq);
CREATE INDEX audit_by_correlation ON audit (correlation_id, at_ms, seq);
