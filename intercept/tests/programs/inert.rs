//! The library in programs that have no service.
