//! When a stored notification becomes visible, and on which channels it leaves.
