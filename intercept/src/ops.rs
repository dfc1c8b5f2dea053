//! The operations, one file a call.

pub(crate) mod accept;
mod again;
mod bind;
mod connect;
mod datagram;
mod device;
mod dissolve;
mod epoll;
pub mod frames;
mod groups;
mod information;
pub mod interface;
mod listen;
mod lookup;
mod names;
mod native_again;
pub(crate) mod options;
mod queues;
pub mod receive;
pub mod send;
mod straight;

#[cfg(test)]
mod tests;
