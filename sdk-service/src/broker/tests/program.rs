//! A program in a test: the other side of the contract, in as few lines as it takes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use zt_socket_rpc::{
    Accepted, Bind, CONNECT_LEN, Connect, Family, Id, Kind, Listen, MAX_MESSAGE, Name,
    OpenDatagram, Options, Reply, Request,
};

const STRAIGHT_PLUG: usize = 5000;

/// A program that was told where the network's socket is.
#[derive(Clone)]
pub(crate) struct Program {
    socket: PathBuf,
}

/// A connection in the program.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) id: Id,
}

/// A listening or a UDP socket in the program.
pub(crate) struct Listening {
    pub(crate) fd: OwnedFd,
    pub(crate) id: Id,
}

impl Program {
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// A control connection.
    pub(crate) fn dial(&self) -> OwnedFd {
        let fd = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        rustix::net::connect(&fd, &SocketAddrUnix::new(&self.socket).unwrap()).unwrap();
        fd
    }

    /// Sends any bytes with any descriptors.
    pub(crate) fn say(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> OwnedFd {
        let fd = self.dial();
        send(&fd, bytes, descriptors);
        fd
    }

    /// Sends a request; the control connection waits for the answer.
    pub(crate) fn request(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> OwnedFd {
        let mut bytes = [0; MAX_MESSAGE];
        let length = request.emit(&mut bytes);
        self.say(&bytes[..length], descriptors)
    }

    /// Begins to connect; with `wait` the control connection gets the outcome.
    pub(crate) fn connect(
        &self,
        remote: SocketAddr,
        wait: bool,
        options: Options,
    ) -> (Connection, OwnedFd) {
        self.connect_with(remote, wait, options, false)
    }

    /// The same with its own half attached too, as for an address of the service's own.
    pub(crate) fn connect_here(&self, remote: SocketAddr, wait: bool) -> (Connection, OwnedFd) {
        self.connect_with(remote, wait, Options::default(), true)
    }

    /// Begins to connect by the streams socket, with as much of request and plug as `cut` leaves.
    pub(crate) fn connect_straight(&self, remote: SocketAddr, name: Id, cut: usize) -> Connection {
        let stream = self.dial_streams(name);
        Self::begin_straight(&stream, remote, name, cut);
        let stream = UnixStream::from(stream);
        Connection { stream, id: name }
    }

    /// Sends the request and the plug, but for the last `cut` bytes.
    pub(crate) fn begin_straight(stream: &OwnedFd, remote: SocketAddr, id: Id, cut: usize) {
        let request = Request::Connect(Connect {
            id,
            remote,
            local: None,
            family: Family::V4,
            wait: false,
            plug: STRAIGHT_PLUG as u32,
            options: Options::default(),
        });
        let mut bytes = [0; MAX_MESSAGE];
        let length = request.emit(&mut bytes);
        assert_eq!(length, CONNECT_LEN, "what the service reads");
        let mut piece = bytes[..length].to_vec();
        piece.resize(length + STRAIGHT_PLUG, 0);
        piece.truncate(piece.len() - cut);
        send(stream, &piece, &[]);
    }

    /// A connection to the streams socket that has said nothing yet.
    pub(crate) fn dial_streams(&self, name: Id) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC;
        let kind = SocketType::STREAM;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
        bind_name(&fd, Kind::Stream, name);
        let path = super::super::streams_path(&self.socket);
        rustix::net::connect(&fd, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        fd
    }

    fn connect_with(
        &self,
        remote: SocketAddr,
        wait: bool,
        options: Options,
        both: bool,
    ) -> (Connection, OwnedFd) {
        let id = fresh_id();
        let (stream, half) = named_pair(SocketType::STREAM, Kind::Stream, id);
        let plug = plug(&stream);
        let request = Request::Connect(Connect {
            id,
            remote,
            local: None,
            family: Family::V4,
            wait,
            plug,
            options,
        });
        let halves = [half.as_fd(), stream.as_fd()];
        let control = self.request(&request, if both { &halves } else { &halves[..1] });
        let stream = UnixStream::from(stream);
        (Connection { stream, id }, control)
    }

    /// Begins to listen; the control connection gets the answer.
    pub(crate) fn listen(
        &self,
        local: SocketAddr,
        backlog: u16,
        kernel: Option<BorrowedFd<'_>>,
    ) -> (Listening, OwnedFd) {
        self.listen_with(local, backlog, kernel, Options::default())
    }

    /// The same with options.
    pub(crate) fn listen_with(
        &self,
        local: SocketAddr,
        backlog: u16,
        kernel: Option<BorrowedFd<'_>>,
        options: Options,
    ) -> (Listening, OwnedFd) {
        let id = fresh_id();
        let (fd, half) = named_pair(SocketType::SEQPACKET, Kind::Listener, id);
        let request = Request::Listen(Listen {
            id,
            local,
            family: Family::V4,
            backlog,
            kernel_listener: kernel.is_some(),
            options,
        });
        let descriptors: Vec<BorrowedFd<'_>> = [half.as_fd()].into_iter().chain(kernel).collect();
        let control = self.request(&request, &descriptors);
        (Listening { fd, id }, control)
    }

    /// Opens a UDP socket; the control connection gets the answer.
    pub(crate) fn datagram(
        &self,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        kernel: Option<BorrowedFd<'_>>,
    ) -> (Listening, OwnedFd) {
        self.datagram_as(local, remote, kernel, false)
    }

    /// Opens a UDP socket that is to be bound later.
    pub(crate) fn unbound_datagram(&self, local: SocketAddr) -> (Listening, OwnedFd) {
        self.datagram_as(local, None, None, true)
    }

    fn datagram_as(
        &self,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        kernel: Option<BorrowedFd<'_>>,
        unbound: bool,
    ) -> (Listening, OwnedFd) {
        let id = fresh_id();
        let (fd, half) = named_pair(SocketType::SEQPACKET, Kind::Datagram, id);
        let request = Request::OpenDatagram(OpenDatagram {
            id,
            kind: Kind::Datagram,
            unbound,
            isolated: false,
            local,
            remote,
            family: Family::V4,
            kernel_socket: kernel.is_some(),
            options: Options::default(),
        });
        let descriptors: Vec<BorrowedFd<'_>> = [half.as_fd()].into_iter().chain(kernel).collect();
        let control = self.request(&request, &descriptors);
        (Listening { fd, id }, control)
    }

    /// Binds to the LAN; the control connection gets the answer.
    pub(crate) fn bind(&self, local: SocketAddr) -> (Listening, OwnedFd) {
        let id = fresh_id();
        let (fd, half) = named_pair(SocketType::SEQPACKET, Kind::Listener, id);
        let request = Request::Bind(Bind {
            id,
            local,
            family: Family::V4,
            options: Options::default(),
        });
        let control = self.request(&request, &[half.as_fd()]);
        (Listening { fd, id }, control)
    }
}

impl Listening {
    /// The next accepted connection, when it is there.
    pub(crate) fn accept_soon(&self) -> (Accepted, OwnedFd) {
        super::within(|| self.accept())
    }

    /// The next accepted connection, if it is there.
    pub(crate) fn accept(&self) -> Option<(Accepted, OwnedFd)> {
        let (bytes, mut descriptors) = receive(&self.fd)?;
        Some((Accepted::parse(&bytes).unwrap(), descriptors.remove(0)))
    }
}

/// The reply on a control connection, if it is there; `Err` when the service closed it.
pub(crate) fn reply(control: &OwnedFd) -> Option<Result<(Reply, Vec<OwnedFd>), ()>> {
    let (bytes, descriptors) = receive(control)?;
    if bytes.is_empty() {
        return Some(Err(()));
    }
    Some(Ok((Reply::parse(&bytes).unwrap(), descriptors)))
}

/// A pair: the program's half and the service's, which has the name.
pub(crate) fn named_pair(kind: SocketType, name: Kind, id: Id) -> (OwnedFd, OwnedFd) {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    bind_name(&theirs, name, id);
    (ours, theirs)
}

fn bind_name(fd: &OwnedFd, kind: Kind, id: Id) {
    let path = Name { kind, id }.to_path();
    let address = SocketAddrUnix::new_abstract_name(&path[1..]).unwrap();
    rustix::net::bind(fd, &address).unwrap();
}

pub(crate) fn fresh_id() -> Id {
    let mut bytes = [0; Id::LEN];
    getrandom::fill(&mut bytes).unwrap();
    Id::from_bytes(bytes)
}

/// Fills the program's half until it takes no more.
fn plug(fd: &OwnedFd) -> u32 {
    rustix::net::sockopt::set_socket_send_buffer_size(fd, 32 << 10).unwrap();
    let mut plug = 0;
    while let Ok(sent) = rustix::net::send(fd, &[0; 1024], SendFlags::DONTWAIT) {
        plug += sent as u32;
    }
    plug
}

fn send(fd: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    rustix::net::sendmsg(fd, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

fn receive(fd: &OwnedFd) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = [0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        fd,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
    );
    let received = match received {
        Ok(received) => received,
        Err(rustix::io::Errno::AGAIN) => return None,
        Err(rustix::io::Errno::CONNRESET) => return Some((Vec::new(), Vec::new())),
        Err(error) => panic!("{error}"),
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Some((bytes[..received.bytes].to_vec(), descriptors))
}
