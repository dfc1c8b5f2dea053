//! Descriptors that cross to programs and come from them: made, named, and checked before use.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, ipproto,
};
use zt_socket_rpc::{Kind, MAX_MESSAGE, Name};

/// A pair for a connection: the service's half, named, and the program's.
pub(super) fn stream_pair(name: Name) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let path = name.to_path();
    // An abstract name begins after the zero byte that makes it abstract.
    let address = SocketAddrUnix::new_abstract_name(path.get(1..).unwrap_or_default())?;
    rustix::net::bind(&ours, &address)?;
    Ok((ours, theirs))
}

/// Makes a pair ready for two programs: the half that one of them will accept is named by its other end and waits as a
/// new connection does.
pub(super) fn prepare_direct(half: &OwnedFd, own: &OwnedFd, name: Name) -> io::Result<()> {
    let path = name.to_path();
    let address = SocketAddrUnix::new_abstract_name(path.get(1..).unwrap_or_default())?;
    rustix::net::bind(own, &address)?;
    Ok(rustix::io::ioctl_fionbio(half, false)?)
}

/// Whether `fd` is the other half of the pair with this name, which a program keeps for itself.
pub(super) fn is_other_half(fd: &OwnedFd, name: Name) -> bool {
    sockopt::socket_domain(fd).is_ok_and(|family| family == AddressFamily::UNIX)
        && sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM)
        && is_from(fd, name)
}

/// Whether a connection comes from a socket of this name.
pub(super) fn is_from(connection: &OwnedFd, name: Name) -> bool {
    let peer = rustix::net::getpeername(connection).ok().flatten();
    let peer = peer.and_then(|peer| SocketAddrUnix::try_from(peer).ok());
    let path = name.to_path();
    peer.is_some_and(|peer| peer.abstract_name() == path.get(1..))
}

/// Whether `fd` is the service's half of a pair of this name.
pub(super) fn is_named(fd: &OwnedFd, name: Name) -> bool {
    let wanted = match name.kind {
        Kind::Stream => SocketType::STREAM,
        _ => SocketType::SEQPACKET,
    };
    let is_unix = sockopt::socket_domain(fd).is_ok_and(|family| family == AddressFamily::UNIX);
    if !is_unix || !sockopt::socket_type(fd).is_ok_and(|kind| kind == wanted) {
        return false;
    }
    let Ok(address) = rustix::net::getsockname(fd) else {
        return false;
    };
    let Ok(address) = SocketAddrUnix::try_from(address) else {
        return false;
    };
    let path = name.to_path();
    address.abstract_name() == path.get(1..)
}

/// Whether `fd` is a listening TCP socket of a program's own network.
pub(super) fn is_kernel_listener(fd: &OwnedFd) -> bool {
    let family = sockopt::socket_domain(fd);
    family.is_ok_and(|family| matches!(family, AddressFamily::INET | AddressFamily::INET6))
        && sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM)
        && sockopt::socket_acceptconn(fd).is_ok_and(|listening| listening)
}

/// Whether `fd` is a socket of a program's own network that goes with a pair of this kind.
pub(super) fn is_kernel_datagram(fd: &OwnedFd, kind: Kind) -> bool {
    let (Ok(family), Ok(of_type), Ok(Some(protocol))) = (
        sockopt::socket_domain(fd),
        sockopt::socket_type(fd),
        sockopt::socket_protocol(fd),
    ) else {
        return false;
    };
    let icmp = match family {
        AddressFamily::INET => ipproto::ICMP,
        AddressFamily::INET6 => ipproto::ICMPV6,
        _ => return false,
    };
    match kind {
        Kind::Datagram => (of_type, protocol) == (SocketType::DGRAM, ipproto::UDP),
        Kind::Echo => (of_type, protocol) == (SocketType::DGRAM, icmp),
        Kind::RawEcho => (of_type, protocol) == (SocketType::RAW, icmp),
        _ => false,
    }
}

/// Whether nobody holds the other half of a pair any more.
pub(super) fn is_hung_up(half: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(half, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP))
}

/// Accepts a connection of a program's own listener, with both its addresses.
///
/// It may wait after all: the program may hold copies of the listener and share its flags.
pub(super) fn accept_kernel(listener: &OwnedFd) -> io::Result<(OwnedFd, SocketAddr, SocketAddr)> {
    rustix::io::ioctl_fionbio(listener, true)?;
    let (fd, peer) = rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC)?;
    let peer = peer
        .and_then(|peer| SocketAddr::try_from(peer).ok())
        .ok_or(Errno::CONNABORTED)?;
    let local =
        SocketAddr::try_from(rustix::net::getsockname(&fd)?).map_err(|_| Errno::CONNABORTED)?;
    Ok((fd, unmapped(peer), unmapped(local)))
}

/// Inside the contract an IPv4 address is always an IPv4 address.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The user on the other side of a control connection.
///
/// Read by hand: beside it stands a process id, which is 0 for a program of another container and
/// which no safe wrapper expects to be.
pub(super) fn peer_uid(connection: &OwnedFd) -> io::Result<u32> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: value and length are live and agree; getsockopt writes at most `length` bytes, and any
    // bytes are a valid `ucred`.
    let result = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(credentials.uid)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// One message with the descriptors that came with it.
pub(super) struct Message {
    pub(super) bytes: [u8; MAX_MESSAGE + 1],
    pub(super) length: usize,
    pub(super) descriptors: Vec<OwnedFd>,
    /// More was sent than any request has.
    pub(super) truncated: bool,
}

impl Message {
    /// Receives without waiting, at most `limit` bytes.
    pub(super) fn receive(connection: &OwnedFd, limit: usize) -> Result<Self, Errno> {
        let mut message = Self {
            bytes: [0; MAX_MESSAGE + 1],
            length: 0,
            descriptors: Vec::new(),
            truncated: false,
        };
        let room = message.bytes.get_mut(..limit).unwrap_or_default();
        let (length, flags) = receive(connection, room, &mut message.descriptors)?;
        message.length = length;
        message.truncated = flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0;
        Ok(message)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Reads from a stream without waiting. A stream carries no descriptors: those that a program slipped
/// in go to `strays`, because the kernel must not be left to close them, and the stream is at fault.
pub(super) fn read(
    from: &OwnedFd,
    room: &mut [u8],
    strays: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    let known = strays.len();
    let (count, flags) = receive(from, room, strays)?;
    if flags & libc::MSG_CTRUNC != 0 || strays.len() > known {
        return Err(Errno::PROTO);
    }
    Ok(count)
}

/// Room for every control message that a program can provoke at once on a socket whose options it set:
/// the most descriptors that one message carries (253), credentials, a security label, a process.
const CONTROL: usize = 4096;

/// Receives bytes and descriptors without waiting. Says how many bytes, and the flags that tell what was
/// cut off.
///
/// By hand, because a program can have the kernel attach credentials, with a process id of 0 for a
/// program of another container: a safe wrapper that parses them expects none.
fn receive(
    from: &OwnedFd,
    room: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<(usize, libc::c_int), Errno> {
    #[repr(C, align(8))]
    struct Control([MaybeUninit<u8>; CONTROL]);
    let mut control = Control([MaybeUninit::uninit(); CONTROL]);
    let mut data = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    // SAFETY: all zeros is a valid `msghdr`: null pointers with lengths of 0.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut data;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header names live buffers with their lengths; the kernel writes within them.
    let count = unsafe { libc::recvmsg(from.as_raw_fd(), &raw mut header, flags) };
    let Ok(count) = usize::try_from(count) else {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    };
    // SAFETY: the kernel has filled the header, and every descriptor in it is new.
    unsafe { take_descriptors(&header, descriptors) };
    Ok((count, header.msg_flags))
}

/// Takes the descriptors that came with a message.
///
/// # Safety
/// The kernel has filled the header's control buffer, and nobody has taken descriptors out of it.
pub(super) unsafe fn take_descriptors(header: &libc::msghdr, descriptors: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel filled `msg_control` with `msg_controllen` bytes of whole control messages,
    // aligned as `cmsghdr` is; the macros stay within them, and each descriptor is new and ours.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(ptr::from_ref(header));
        while let Some(head) = message.as_ref() {
            if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
                let length = head.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                let first = libc::CMSG_DATA(message).cast::<libc::c_int>();
                descriptors.extend(
                    (0..length / size_of::<libc::c_int>())
                        .map(|index| OwnedFd::from_raw_fd(first.add(index).read_unaligned())),
                );
            }
            message = libc::CMSG_NXTHDR(ptr::from_ref(header), message);
        }
    }
}

/// Sends one message with at most one descriptor, without waiting and without a signal.
pub(super) fn send_message(
    to: impl AsFd,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(to, &[IoSlice::new(bytes)], &mut control, flags).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use zt_socket_rpc::Id;

    use super::*;

    fn name(kind: Kind) -> Name {
        let mut id = [7; Id::LEN];
        getrandom::fill(&mut id).unwrap();
        Name {
            kind,
            id: Id::from_bytes(id),
        }
    }

    #[test]
    fn a_pair_is_known_by_its_name_from_both_sides() {
        let stream = name(Kind::Stream);
        let (ours, theirs) = stream_pair(stream).unwrap();
        assert!(is_named(&ours, stream));
        assert!(!is_named(&theirs, stream));
        assert!(!is_named(&ours, name(Kind::Stream)));
        assert!(!is_named(
            &ours,
            Name {
                kind: Kind::Listener,
                id: stream.id
            }
        ));
        let peer =
            SocketAddrUnix::try_from(rustix::net::getpeername(&theirs).unwrap().unwrap()).unwrap();
        assert_eq!(peer.abstract_name(), Some(&stream.to_path()[1..]));
    }

    #[test]
    fn only_a_listening_tcp_socket_is_a_kernel_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let listener = OwnedFd::from(listener);
        assert!(is_kernel_listener(&listener));
        assert!(!is_kernel_listener(&OwnedFd::from(
            stream.try_clone().unwrap()
        )));
        assert!(!is_kernel_listener(
            &stream_pair(name(Kind::Stream)).unwrap().0
        ));
        let (_, peer, local) = accept_kernel(&listener).unwrap();
        assert_eq!((peer, local), (stream.local_addr().unwrap(), address));
        // Nobody waits any more: the answer comes at once.
        assert_eq!(
            accept_kernel(&listener).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn descriptors_arrive_and_too_many_are_noticed() {
        let flags = SocketFlags::CLOEXEC;
        let (left, right) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .unwrap();
        send_message(&left, b"hello", Some(left.as_fd())).unwrap();
        let message = Message::receive(&right, MAX_MESSAGE + 1).unwrap();
        assert_eq!(
            (
                message.bytes(),
                message.descriptors.len(),
                message.truncated
            ),
            (&b"hello"[..], 1, false)
        );
        drop(message);

        let many = [left.as_fd(); 9];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(9))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&many));
        rustix::net::sendmsg(
            &left,
            &[IoSlice::new(b"x")],
            &mut control,
            SendFlags::empty(),
        )
        .unwrap();
        let message = Message::receive(&right, MAX_MESSAGE + 1).unwrap();
        assert_eq!(message.descriptors.len(), 9);
        assert_eq!(
            Message::receive(&right, MAX_MESSAGE + 1).err(),
            Some(Errno::AGAIN)
        );
        drop((message, left));
        assert_eq!(
            Message::receive(&right, MAX_MESSAGE + 1).map(|message| message.length),
            Ok(0)
        );
    }

    #[test]
    fn the_user_of_a_connection_is_known() {
        let (left, _right) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(
            peer_uid(&left.into()).unwrap(),
            rustix::process::getuid().as_raw()
        );
    }
}
