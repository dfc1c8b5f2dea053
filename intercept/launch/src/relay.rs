//! A UDP socket of the program on the LAN.
//!
//! Calls that carry data are not trapped unless they carry an address too. So the program must read and write plain
//! datagrams, and not the frames of the service ([`zt_socket_rpc::DatagramHeader`]). Its descriptor is a Unix datagram
//! socket, the *outlet*; a thread here moves datagrams between that and the service's framed half, the *channel*.
//!
//! - To the program: each datagram is sent by a socket whose abstract name holds the frame's header. A plain `read` gets the
//!   payload alone; a trapped `recvfrom` finds in the sender's name where it came from. What does not fit waits.
//! - From the program: `write` on a connected socket goes to the *inlet*, to which the outlet is connected then. A send
//!   with an address is trapped, and goes into the channel at once.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use zt_intercept::Errno;
use zt_socket_rpc::linux::AF_UNIX;
use zt_socket_rpc::{DatagramHeader, Entry, Id, MAX_FRAME, MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};

use crate::supervisor::Supervisor;
use crate::sys;

/// `sun_path` of a sender: this, the relay's own mark, and a header.
const PREFIX: [u8; 6] = *b"\0zt-dg";
const MARK: usize = 8;
/// Senders that are kept; a peer beyond them costs a socket a datagram.
const SENDERS: usize = 32;
/// `AF_UNSPEC`: dissolves a connection.
const NOBODY: [u8; 16] = [0; 16];
/// Datagrams in one direction before the other has its turn.
const TURN: usize = 64;

/// Moves the datagrams of one socket, until its [`Owner`] is dropped or the service has gone.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The framed half.
    pub(crate) channel: OwnedFd,
    pub(crate) id: Id,
    inlet: OwnedFd,
    outlet: OwnedFd,
    /// The outlet's address.
    address: Vec<u8>,
    mark: [u8; MARK],
    is_connected: AtomicBool,
    /// An error that the peer's host has reported.
    pending: AtomicI32,
}

/// Ends the relay with the last use of the program's socket.
#[derive(Debug)]
pub(crate) struct Owner(Arc<Relay>);

impl Drop for Owner {
    fn drop(&mut self) {
        sys::shut(self.0.channel.as_raw_fd());
    }
}

impl std::ops::Deref for Owner {
    type Target = Relay;

    fn deref(&self) -> &Relay {
        &self.0
    }
}

/// What a datagram in the outlet's queue is, by its sender's address.
pub(crate) enum Sender {
    /// The header of its frame.
    Header([u8; DatagramHeader::LEN]),
    /// From the peer that the socket is connected to.
    Peer,
    /// Not a datagram: the service has gone.
    Gone,
    /// Somebody else's.
    Stranger,
}

/// The program's end: a Unix datagram socket with a name of its own.
pub(crate) fn outlet(nonblocking: bool) -> Result<OwnedFd, Errno> {
    let flags = if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    let fd = sys::owned(sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM | flags, 0)?)?;
    // The kernel chooses the name.
    sys::bind(fd.as_raw_fd(), &AF_UNIX.to_ne_bytes())?;
    Ok(fd)
}

fn name_of(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut address = vec![0; 110];
    let len = sys::local_name(fd.as_raw_fd(), &mut address)?;
    address.truncate(len);
    Ok(address)
}

/// The header of a datagram to or from the peer of a connected socket, of which no more is known.
pub(crate) fn header_of_peer(entry: &Entry) -> [u8; DatagramHeader::LEN] {
    let header = DatagramHeader {
        peer: entry.remote,
        local: None,
        family: entry.family,
        ttl: None,
        tos: None,
        errno: 0,
        more: false,
        interface: 0,
    };
    header.emit()
}

impl Relay {
    /// Starts moving datagrams between the program's end and the service's.
    pub(crate) fn start(
        supervisor: &Arc<Supervisor>,
        channel: OwnedFd,
        id: Id,
        outlet: &OwnedFd,
    ) -> Result<Owner, Errno> {
        let mut mark = [0; MARK];
        sys::random(&mut mark)?;
        let relay = Arc::new(Self {
            channel,
            id,
            inlet: self::outlet(true)?,
            outlet: sys::duplicate(outlet.as_raw_fd())?,
            address: name_of(outlet)?,
            mark,
            is_connected: AtomicBool::new(false),
            pending: AtomicI32::new(0),
        });
        let (runner, supervisor) = (Arc::clone(&relay), Arc::clone(supervisor));
        thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || runner.run(&supervisor))
            .map_err(|_| Errno(libc::ENOMEM))?;
        Ok(Owner(relay))
    }

    /// Connects the program's end, or frees it.
    pub(crate) fn connect(&self, connected: bool) -> Result<(), Errno> {
        let (outlet, inlet) = (self.outlet.as_raw_fd(), self.inlet.as_raw_fd());
        if connected {
            sys::connect(outlet, &name_of(&self.inlet)?)?;
            sys::connect(inlet, &self.address)?;
        } else if self.is_connected.load(Ordering::Acquire) {
            sys::connect(inlet, &NOBODY)?;
            // That may have been an error to the other end.
            sys::take_error(outlet);
            sys::connect(outlet, &NOBODY)?;
        }
        self.is_connected.store(connected, Ordering::Release);
        Ok(())
    }

    /// The error that waits, once.
    pub(crate) fn take_error(&self) -> Option<Errno> {
        let errno = self.pending.swap(0, Ordering::AcqRel);
        (errno != 0).then(|| {
            sys::take_error(self.outlet.as_raw_fd());
            Errno(errno)
        })
    }

    /// What the address of a sender says of its datagram.
    pub(crate) fn sender(&self, address: &[u8]) -> Sender {
        let named = address
            .get(2..)
            .and_then(|path| path.strip_prefix(&PREFIX))
            .and_then(|rest| rest.strip_prefix(&self.mark));
        match named.map(TryInto::try_into) {
            Some(Ok(header)) => Sender::Header(header),
            Some(Err(_)) => Sender::Gone,
            None if name_of(&self.inlet).is_ok_and(|inlet| inlet == address) => Sender::Peer,
            None => Sender::Stranger,
        }
    }

    fn run(&self, supervisor: &Supervisor) {
        let mut senders = Senders::default();
        let mut frame = vec![0; MAX_FRAME + 1];
        let mut waiting: Option<Vec<u8>> = None;
        let (channel, inlet) = (self.channel.as_raw_fd(), self.inlet.as_raw_fd());
        loop {
            let sender = waiting
                .as_ref()
                .and_then(|frame| self.sender_of(&mut senders, frame));
            let from_channel = if waiting.is_some() { 0 } else { libc::POLLIN };
            let mut entries = [
                sys::entry(channel, from_channel),
                sys::entry(inlet, libc::POLLIN),
                sys::entry(sender.unwrap_or(-1), libc::POLLOUT),
            ];
            if sys::poll_all(&mut entries, -1).is_err() {
                continue;
            }
            if let Some(frame) = waiting.take_if(|_| entries[2].revents != 0) {
                waiting = self.deliver(&mut senders, frame);
            }
            if waiting.is_none() && entries[0].revents & libc::POLLIN != 0 {
                for _ in 0..TURN {
                    match sys::receive(channel, &mut frame) {
                        Ok(len @ 1..) => {
                            let frame = frame.get(..len).unwrap_or_default().to_vec();
                            waiting = self.deliver(&mut senders, frame);
                        }
                        _ => break,
                    }
                    if waiting.is_some() {
                        break;
                    }
                }
            }
            if entries[1].revents != 0 {
                self.collect(supervisor, &mut frame);
            }
            let is_over = waiting.is_some() || sys::is_drained(channel);
            if entries[0].revents & libc::POLLHUP != 0 && is_over {
                break;
            }
        }
        // A program that waits for datagrams has to come and see.
        let mut gone = AF_UNIX.to_ne_bytes().to_vec();
        gone.extend(PREFIX.iter().chain(&self.mark));
        if let Ok(sender) = self.new_sender(&gone) {
            let _ = sys::send(sender.as_raw_fd(), &[]);
        }
    }

    /// Gives a frame to the program; back if there is no room.
    fn deliver(&self, senders: &mut Senders, frame: Vec<u8>) -> Option<Vec<u8>> {
        let (header, payload) = DatagramHeader::parse(&frame).ok()?;
        if header.errno != 0 {
            self.report(header.errno.into());
            return None;
        }
        let sender = self.sender_of(senders, &frame)?;
        match sys::send(sender, payload) {
            Err(Errno(libc::EAGAIN)) => Some(frame),
            // Also when the program's end is gone.
            _ => None,
        }
    }

    /// The socket that sends a frame: its name, or that of the peer.
    fn sender_of(&self, senders: &mut Senders, frame: &[u8]) -> Option<i32> {
        if self.is_connected.load(Ordering::Acquire) {
            return Some(self.inlet.as_raw_fd());
        }
        let header: [u8; DatagramHeader::LEN] = *frame.first_chunk()?;
        if let Some(sender) = senders.0.get(&header) {
            return Some(sender.as_raw_fd());
        }
        let mut address = AF_UNIX.to_ne_bytes().to_vec();
        address.extend(PREFIX.iter().chain(&self.mark).chain(&header));
        let sender = self.new_sender(&address).ok()?;
        let fd = sender.as_raw_fd();
        if senders.0.len() >= SENDERS {
            senders.0.clear();
        }
        senders.0.insert(header, sender);
        Some(fd)
    }

    fn new_sender(&self, address: &[u8]) -> Result<OwnedFd, Errno> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
        let fd = sys::owned(sys::socket(libc::AF_UNIX, kind, 0)?)?;
        sys::bind(fd.as_raw_fd(), address)?;
        sys::connect(fd.as_raw_fd(), &self.address)?;
        Ok(fd)
    }

    /// An error for a connected socket: its calls fail once, and it polls so.
    fn report(&self, errno: i32) {
        self.pending.store(errno, Ordering::Release);
        if self.is_connected.load(Ordering::Acquire) {
            // A datagram socket whose peer turns away from it, with something unread, has an error.
            let inlet = self.inlet.as_raw_fd();
            let _ = sys::send(self.outlet.as_raw_fd(), &[]);
            let _ = sys::connect(inlet, &NOBODY);
            let _ = sys::connect(inlet, &self.address);
        }
    }

    /// Takes what the program has written to its peer.
    fn collect(&self, supervisor: &Supervisor, buffer: &mut [u8]) {
        for _ in 0..TURN {
            let (head, rest) = buffer.split_at_mut(DatagramHeader::LEN);
            let Ok(len) = sys::receive(self.inlet.as_raw_fd(), rest) else {
                return;
            };
            let entry = supervisor
                .table()
                .and_then(|table| table.entry(self.id.tag()));
            let Some((entry, peer)) = entry.and_then(|entry| Some((entry, entry.remote?))) else {
                continue;
            };
            let limit = if peer.is_ipv4() {
                MAX_PAYLOAD_V4
            } else {
                MAX_PAYLOAD_V6
            };
            if len > limit {
                continue;
            }
            head.copy_from_slice(&header_of_peer(&entry));
            let channel = self.channel.as_raw_fd();
            let frame = buffer.get(..DatagramHeader::LEN + len).unwrap_or_default();
            while sys::send(channel, frame) == Err(Errno(libc::EAGAIN)) {
                // The service takes them out soon; or hangs up.
                let _ = sys::poll(channel, libc::POLLOUT, -1);
            }
        }
    }
}

/// Sockets with headers for names.
#[derive(Debug, Default)]
struct Senders(HashMap<[u8; DatagramHeader::LEN], OwnedFd>);
