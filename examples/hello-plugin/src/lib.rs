//! The smallest useful Carillon plugin.
