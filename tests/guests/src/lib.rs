//! What the guests share.
