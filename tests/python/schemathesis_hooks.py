"""What schemathesis cannot read in the document of the booking API, told by its own means: which answers
lie beyond a schema, and what values of the document's own formats look like.
"""

from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import RejectedPositiveData

# A schema says of each value what it looks like. It cannot say which version of something is the
# current one (412), nor that one time must be later than another, that a rule must have occurrences,
# that a user must be one that there is, or a cursor one that was given out (422). The document says so
# in words: it announces these two answers for each operation that may give them.
#
# So a refusal of data that follows the schema is right where it is announced and where what it gives as
# its reason is so, as far as that can be seen from the request. Every other one stays a failure, with
# 400 above all.
STRETCHES = {"to": "from", "endTime": "startTime"}
LONGEST = timedelta(days=31)
# Some that every database of time zones has had for long, with odd offsets and summer times.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]


@schemathesis.hook
def filter_failure(context, failure, case, response) -> bool:
    if not isinstance(failure, RejectedPositiveData):
        return True
    is_announced = str(response.status_code) in case.operation.definition.raw["responses"]
    is_reason = {412: is_about_a_version, 422: is_about_meaning}.get(response.status_code)
    return not (is_announced and is_reason is not None and is_reason(case, response.json()))


def is_about_a_version(case, problem: dict) -> bool:
    return case.headers.get("If-Match", "*") != "*"


def is_about_meaning(case, problem: dict) -> bool:
    match problem["type"].rpartition(":")[2]:
        case "unknown-cursor":
            return "cursor" in sent(case)
        case "idempotency-key-reused":
            return "Idempotency-Key" in case.headers
        case "unknown-resource" | "unknown-user" | "unknown-conflict":
            return problem["field"] in sent(case)
        case "over-capacity":
            return "attendeesCount" in sent(case) or "resourceId" in sent(case)
        case "impossible-values":
            return all(cannot_be(sent(case), fault["field"]) for fault in problem["errors"])
        case _:
            return False


def cannot_be(values: dict, field: str) -> bool:
    if field == "timeZone":
        return values[field] not in ZONES
    start, end = moment(values, STRETCHES.get(field)), moment(values, field)
    if start is None or end is None:
        # Rules, what a calendar or a clock leaves out, and a time beside one that is stored: that
        # something was said about it is all that can be seen here.
        return field.partition(".")[0] in values or STRETCHES.get(field) in values
    is_over = end.tzinfo is not None and end < datetime.now(timezone.utc)
    return is_over or not start < end <= start + LONGEST


def sent(case) -> dict:
    body = case.body if isinstance(case.body, dict) else {}
    return {**(case.query or {}), **body}


def moment(values: dict, field: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(values[field])
    except (KeyError, TypeError, ValueError):
        # It was not sent, or not even that; or Python knows less of RFC 3339 than the API.
        return None


# Times: most of them within a month that is to come, so that bookings meet each other, wait for each
# other and reach into what is asked for; the others anywhere.
quarters = st.integers(0, 30 * 24 * 4).map(lambda number: timedelta(minutes=15 * number))
soon = quarters.map(lambda quarter: datetime(2031, 5, 1, tzinfo=timezone.utc) + quarter)
offsets = st.integers(-23 * 4, 23 * 4).map(lambda number: timezone(timedelta(minutes=15 * number)))
anywhere = st.datetimes(datetime(2000, 1, 2), datetime(8999, 12, 30), timezones=offsets)
times = st.one_of(soon, soon, soon, anywhere)

schemathesis.openapi.format("date-time", times.map(datetime.isoformat))
schemathesis.openapi.format(
    "local-date-time", times.map(lambda time: time.replace(tzinfo=None, microsecond=0).isoformat())
)
schemathesis.openapi.format("iana-time-zone", st.sampled_from(ZONES))
schemathesis.openapi.format(
    "recurrence-rule",
    st.builds(
        "FREQ={};INTERVAL={};COUNT={}".format,
        st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
        st.integers(1, 4),
        st.integers(1, 20),
    ),
)
# Any version but the star is rarely the current one.
schemathesis.openapi.format(
    "entity-tags", st.one_of(st.just("*"), st.just("*"), st.integers(1, 9).map('"{}"'.format))
)
