//! Hosts on a simulated wire: connections, datagrams, the link, bulk transfer, many flows and hostile frames.

mod binding;
mod bulk;
mod connections;
mod datagrams;
mod echo;
mod fragments;
mod groups;
mod hostile;
mod link;
mod many;
mod udp;
mod wire;
