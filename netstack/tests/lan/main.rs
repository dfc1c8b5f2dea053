//! Hosts on a simulated wire: connections, the link, bulk transfer, many flows and hostile frames.

mod bulk;
mod connections;
mod hostile;
mod link;
mod many;
mod wire;
