"""Reads an iCalendar feed with the package icalendar, and prints what it says as JSON."""

import json
import sys
from datetime import datetime, timezone

from icalendar import Calendar


def time(moment: datetime) -> str:
    """RFC 3339 in UTC, as the booking API writes it; a day or a floating time is an error."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError(f"{moment!r} is no moment")
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(component, name: str):
    return str(component[name]) if name in component else None


def event(component) -> dict:
    if component.errors:
        raise ValueError(f"{component.errors}")
    return {
        "uid": text(component, "UID"),
        "sequence": int(component.get("SEQUENCE", 0)),
        "status": text(component, "STATUS"),
        "summary": text(component, "SUMMARY"),
        "location": text(component, "LOCATION"),
        "description": text(component, "DESCRIPTION"),
        "start": time(component.start),
        "end": time(component.end),
        "stamp": time(component["DTSTAMP"].dt),
    }


def main() -> None:
    source = sys.stdin.buffer.read()
    calendar = Calendar.from_ical(source)
    if calendar.errors:
        raise ValueError(f"{calendar.errors}")
    # RFC 5545, section 3.1: lines end with CRLF and have at most 75 octets.
    lines = source.split(b"\r\n")
    print(
        json.dumps(
            {
                "version": text(calendar, "VERSION"),
                "product": text(calendar, "PRODID"),
                "name": text(calendar, "X-WR-CALNAME") or text(calendar, "NAME"),
                "method": text(calendar, "METHOD"),
                "longest_line": max(len(line) for line in lines),
                "bare_newlines": sum(b"\n" in line for line in lines),
                "events": [event(component) for component in calendar.walk("VEVENT")],
            }
        )
    )


main()
