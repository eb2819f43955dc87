//! Nothing but a place for a test.
