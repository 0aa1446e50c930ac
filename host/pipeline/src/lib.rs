//! Lanes: events in, actions out, one transaction.
