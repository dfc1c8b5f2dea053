//! The contract between an intercepted program and the ZeroTier service beside it.
//!
//! A program's socket on the LAN is one end of a Unix socket pair; the service holds the other end. Data flows over
//! the pair and is never framed or inspected for control. Control goes over a `SOCK_SEQPACKET` Unix socket at the path
//! `nc_<network id>`. This crate holds what both sides must agree on and nothing else: it makes no system call (except
//! in [`table`]'s `service` feature), allocates nothing, and reads no clock.
//!
//! # Names: recognising a descriptor without a table in the process
//! Whoever makes a pair chooses a random [`Id`] and binds the **service's half** to the abstract Unix address
//! [`Name`] = `"\0zt-nc" ‖ kind ‖ id`. `getpeername` on the program's half then identifies it: after `fork`, `exec`,
//! `dup`, descriptor passing, in another network namespace, and after the service closed its half. The name is an index
//! plus a secret, never authority by itself: the service looks the id up in its own records.
//!
//! # Control: one message a connection
//! A program connects to the control socket, sends exactly one [`Request`] with its descriptors attached
//! (`SCM_RIGHTS`), reads one [`Reply`] where the request has one, and closes. It keeps no control descriptor. The
//! service takes connections in the order of its accept queue and reads each at once, so two requests of one thread are
//! handled in their order: a [`Request::Query`] sees the effect of every earlier one-way request.
//!
//! | request | descriptors | reply |
//! |---|---|---|
//! | [`Hello`](Request::Hello) | – | [`Reply::Hello`] with the table's memory file attached |
//! | [`Connect`](Request::Connect) | service half of a `STREAM` pair; for one of the service's own addresses then the program's half | none, or [`Reply::Done`] / [`Reply::Failed`] when `wait` is set |
//! | [`Bind`](Request::Bind) | service half of a `SEQPACKET` pair | [`Reply::Done`] with the bound address, or [`Reply::Failed`] |
//! | [`Listen`](Request::Listen) | none (the id is bound already); or the service half of a `SEQPACKET` pair, then, if `kernel_listener`, the program's own listening kernel socket | [`Reply::Done`] with the bound address, or [`Reply::Failed`] |
//! | [`OpenDatagram`](Request::OpenDatagram) | service half of a `SEQPACKET` pair, then, if `kernel_socket`, the program's own UDP or ICMP socket | [`Reply::Done`] with the bound address, or [`Reply::Failed`] |
//! | [`BindDatagram`](Request::BindDatagram) | – | [`Reply::Done`] with the bound address, or [`Reply::Failed`] |
//! | [`ConnectDatagram`](Request::ConnectDatagram) | – | [`Reply::Done`] with the local address, or [`Reply::Failed`] |
//! | [`Membership`](Request::Membership) | – | [`Reply::Done`] with the local address, or [`Reply::Failed`] |
//! | [`TakeLost`](Request::TakeLost) | – | [`Reply::Lost`], or [`Reply::Failed`] with `EAGAIN` |
//! | [`SetOption`](Request::SetOption) | – | none |
//! | [`Query`](Request::Query) | – | [`Reply::State`], or [`Reply::Failed`] with `ENOENT` |
//! | [`Measure`](Request::Measure) | – | [`Reply::Progress`], or [`Reply::Failed`] with `ENOENT` |
//! | [`Resolve`](Request::Resolve) | – | [`Reply::Addresses`], or [`Reply::Failed`] |
//! | [`NameOf`](Request::NameOf) | – | [`Reply::NameOf`], or [`Reply::Failed`] |
//! | [`Records`](Request::Records) | – | [`Reply::Message`], or [`Reply::Failed`] |
//!
//! Every request is hostile input. The service closes the connection without a reply when a message does not parse,
//! carries the wrong number or kind of descriptors, names an id or a tag that is taken, or names an id that does not
//! exist; the descriptors are closed, nothing else is disturbed.
//!
//! # Connecting
//! Before it sends [`Connect`](Request::Connect), the program makes the send buffer of its own half small and fills it
//! with a *plug* of zero bytes. So its descriptor polls as "connecting", and a send waits or says `EAGAIN`.
//! - **Up**: the service writes the table entry ([`State::Connected`], both addresses), reads and drops exactly the
//!   `plug` bytes that the request announced, and answers when `wait` is set. The drain makes the half writable:
//!   `POLLOUT`, and an edge for edge-triggered epoll. Whatever follows the plug is the program's data.
//! - **Refused, unreachable, timed out**: the service writes [`State::Failed`] with the errno into the entry, closes
//!   its half *with the plug unread*, and only then answers when `wait` is set. The kernel reports `IN|ERR|HUP`, a
//!   moment later (when it has thrown the plug away) `OUT` too, and `ECONNRESET` on the program's half, which the
//!   library turns into the entry's errno.
//!
//! A program may close the control connection of a waiting connect at any time (a signal): the attempt goes on.
//!
//! # The streams socket
//! A program that does not wait for the outcome, and connects to another host, needs no pair: beside the control socket
//! lies a `SOCK_STREAM` socket, at the same path with [`STREAMS_SUFFIX`]. The program's own socket connects there, after
//! it was bound to its [`Name`]; its first [`CONNECT_LEN`] bytes are the [`Connect`] request, and the plug follows, as one
//! piece with it, so that it is there when the connection is up. The service's half is what it accepts. `getpeername` on the program's half then shows the
//! path of the streams socket, and `getsockname` the name. All else is as with a pair.
//!
//! # Two programs of one service
//! For a connection to one of its own addresses the service may give the half that was meant for it to the program that
//! accepts, in blocking mode, after it took the plug out and gave the *other* half a name of its own: so each program
//! knows its descriptor by the name of the other one's. From then on the service has no part in it; the entries of both
//! ends stay while they are open.
//!
//! # What the service sees on its half of a stream
//! | on the service's half | meaning | on the LAN |
//! |---|---|---|
//! | end of file without `EPOLLHUP` | `shutdown(SHUT_WR)` | FIN after the data |
//! | `EPOLLHUP`, end of file | the last copy was closed | FIN after the data; RST if [`Options::linger`] is `Some(0)`; later data from the peer is answered with RST |
//! | `ECONNRESET` from read or write | closed with unread data | RST |
//! | `EPIPE` on write without `EPOLLHUP` | `shutdown(SHUT_RD)` | data is taken and dropped |
//!
//! A peer's FIN becomes `shutdown(SHUT_WR)` of the service's half. A peer's RST: the entry becomes [`State::Reset`],
//! then the half is closed (after the received data was written to it). The kernel raises `ECONNRESET` by itself when
//! the program had written something that was not read; with an empty queue it reports a plain end of file, which the
//! library turns into `ECONNRESET` after a look at the entry.
//!
//! # Listening
//! A listener is a `SEQPACKET` pair. For each connection the service sends one [`Accepted`] record with the new
//! descriptor attached (in blocking mode: its status flags are shared with the program, so the service sets none on
//! it); `accept` in the program is one `recvmsg`. Records that do not fit yet (`EAGAIN`) wait in the
//! service's backlog. In split mode the program's own kernel listener is handed over too: the service accepts on it and
//! pushes those connections into the same queue ([`Origin::Kernel`]). The last close of the program's half
//! (`EPOLLHUP`) ends the listener and everything still queued. The program puts a message of zeros into the other
//! direction, which nobody reads, so that its descriptor never polls as writable, as a TCP listener never does.
//!
//! `close` is not heard by the service at once: when a port is asked for that another socket holds, the service looks
//! whether that one's half has hung up already before it says `EADDRINUSE`.
//!
//! # Datagrams
//! A UDP socket is a `SEQPACKET` pair, not a `DGRAM` one: only there does each side hear that the other has closed. Each
//! message is one [`DatagramHeader`] and a payload, in both directions. In split mode the program's own UDP socket
//! comes along: the service passes its datagrams on in the same frames, and sends out of it what is not for the LAN. So
//! one descriptor serves both networks ([`Reach`] tells which of them a datagram is for).
//!
//! An ICMP echo socket (`ping`) is the same, but for what its frames carry: ICMP messages from the header on; for an
//! IPv4 socket of type `SOCK_RAW` the service puts an IP header before what it received. Ports are identifiers.
//!
//! - Connected or not is the service's to know ([`State::Connected`], with the peer in the entry, or
//!   [`State::Bound`]); the library reads it from the entry and fills in the peer of every frame.
//! - Towards the program nothing is pushed into a full pair: what does not fit waits in the host's bounded queue, whose
//!   overflow is dropped and counted, as UDP does. Towards the service a full pair makes the program wait or see `EAGAIN`.
//! - An ICMP error about a connected socket is a frame with an errno. The entry's `errno` is a hint for senders that
//!   such a frame may wait; the service clears it at the next datagram that the program sends. With `IP_RECVERR` the
//!   service keeps what is known of each loss too, until it is taken
//!   ([`TakeLost`](Request::TakeLost)).
//! - The last close of the program's half (`EPOLLHUP`) ends the socket.
//!
//! # Names
//! The service looks up names under `.local`, names in the network's domain (in [`table::Interface`]), and the names of
//! LAN addresses; it answers within seconds. [`Reply::Failed`] says `ENOENT` when there is none, `EAGAIN` when those who
//! should know do not answer, `EINVAL` when the name is nothing that the service looks up.
//!
//! # The state table
//! Addresses, errors and options of every socket are readable without a round trip: [`table`].
#![no_std]

#[cfg(any(test, feature = "service"))]
extern crate std;

mod accepted;
mod address;
mod datagram;
mod id;
pub mod linux;
pub mod lost;
mod names;
mod options;
mod progress;
mod reach;
mod reply;
mod request;
pub mod table;
mod wire;

pub use accepted::{Accepted, Origin};
pub use address::{ADDRESS_LEN, Prefix, decode_address, encode_address};
pub use datagram::{DatagramHeader, MAX_FRAME, MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};
pub use id::{Id, Kind, Name};
pub use lost::Lost;
pub use names::{Addresses, DnsMessage, HostName};
pub use options::{OptionError, Options};
pub use progress::Progress;
pub use reach::{Reach, interface_of, is_for_many};
pub use reply::Reply;
pub use request::{
    Bind, BindDatagram, CONNECT_LEN, Connect, ConnectDatagram, Listen, MAX_PLUG, Membership,
    OpenDatagram, OptionValue, Request, SetOption,
};
pub use table::{Entry, Family, State};
pub use wire::Malformed;

/// Protocol version carried in every message and in the state table's header. Both sides refuse another one.
pub const VERSION: u8 = 1;

/// The index of the LAN's interface, as programs see it in `IP_PKTINFO`, scope ids and `if_nametoindex`. The kernel counts
/// its own up from 1 and never gets there.
pub const LAN_INTERFACE: u32 = 0x7a74;

/// No message is longer. A receive buffer of this size plus one byte detects one that is.
pub const MAX_MESSAGE: usize = 1280;

/// What the path of the streams socket has more than that of the control socket.
pub const STREAMS_SUFFIX: &[u8] = b".streams";

/// No message carries more descriptors.
pub const MAX_DESCRIPTORS: usize = 2;
