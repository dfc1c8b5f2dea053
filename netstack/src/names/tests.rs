//! Hosts that find each other by name on a link with virtual time.

mod link;
mod local;
mod servers;
