//! A kernel in memory: descriptors, kernel TCP and UDP sockets, pairs, and a service at the other end of the control socket.
//!
//! Any call can be made to fail, and every descriptor that is open can be listed: so each operation can be broken off
//! at each of its calls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use zt_socket_rpc::linux::*;
use zt_socket_rpc::table::{Interface, TABLE_WORDS, Table, TableWriter};
use zt_socket_rpc::{Entry, Family, MAX_MESSAGE, Name, Prefix, Reply, Request};

use crate::kernel::{EpollEvent, Errno, Fd, Kernel, POLLHUP, Received, Waiting};
use crate::native::{TCP_STATE_CLOSE, TCP_STATE_LISTEN};
use crate::sockaddr::{encode, parse, wildcard};
use zt_socket_rpc::linux::SO_BINDTODEVICE;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// A kernel TCP socket.
    Tcp {
        family: Family,
        local: SocketAddr,
        listening: bool,
    },
    /// A kernel UDP socket.
    Udp { family: Family, local: SocketAddr },
    /// Any other descriptor.
    Other,
    /// One end of a pair: its own name, its peer's.
    Pair {
        kind: i32,
        name: Vec<u8>,
        peer: Vec<u8>,
    },
    /// A control connection and what was sent over it.
    Control { reply: Vec<u8>, attached: Vec<Fd> },
    /// The table's memory file.
    Table,
}

#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) socket: Socket,
    pub(super) nonblocking: bool,
    pub(super) close_on_exec: bool,
    pub(super) options: BTreeMap<(i32, i32), Vec<u8>>,
    pair: Fd,
}

type Service = dyn Fn(&Request) -> Option<Reply>;

pub(super) struct Simulated {
    pub(super) open: RefCell<BTreeMap<Fd, Open>>,
    pub(super) requests: RefCell<Vec<(Request, usize)>>,
    pub(super) epoll: RefCell<Vec<(Fd, i32, Fd, EpollEvent)>>,
    pub(super) service: RefCell<Option<Box<Service>>>,
    pub(super) mapped: Cell<bool>,
    /// Fallible calls left until one fails.
    pub(super) fail_after: Cell<Option<u32>>,
    pub(super) privileged: Cell<bool>,
    /// Any user may bind a socket to a device.
    pub(super) confines: Cell<bool>,
    pub(super) slept: Cell<i32>,
    pub(super) hung_up: Cell<bool>,
    stamp: Cell<u64>,
    table: Box<[AtomicU64; TABLE_WORDS]>,
    next_random: Cell<u8>,
}

impl Simulated {
    /// A kernel beside a service that has 10.77.0.1/24 and says yes to everything.
    pub(super) fn new() -> Self {
        let words: Vec<AtomicU64> = (0..TABLE_WORDS).map(|_| AtomicU64::new(0)).collect();
        let table: Box<[AtomicU64; TABLE_WORDS]> = words.into_boxed_slice().try_into().unwrap();
        let lan = Prefix {
            address: "10.77.0.1".parse().unwrap(),
            length: 24,
        };
        TableWriter::new(&table, 1).set_lan(&[lan], &[lan], &[]);
        let kernel = Self {
            open: RefCell::default(),
            requests: RefCell::default(),
            epoll: RefCell::default(),
            service: RefCell::new(None),
            mapped: Cell::new(false),
            fail_after: Cell::new(None),
            privileged: Cell::new(false),
            confines: Cell::new(true),
            slept: Cell::new(0),
            hung_up: Cell::new(false),
            stamp: Cell::new(7),
            table,
            next_random: Cell::new(1),
        };
        kernel.serve(|_| {
            Some(Reply::Done {
                local: "10.77.0.1:40000".parse().unwrap(),
            })
        });
        kernel
    }

    /// The service answers so (hellos are answered by themselves); `None` closes without an answer.
    pub(super) fn serve(&self, service: impl Fn(&Request) -> Option<Reply> + 'static) {
        *self.service.borrow_mut() = Some(Box::new(service));
    }

    /// Nobody listens at the control socket any more.
    pub(super) fn stop_service(&self, leaves_file: bool) {
        *self.service.borrow_mut() = None;
        if !leaves_file {
            self.stamp.set(0);
        }
    }

    pub(super) fn publish(&self, name: Name, entry: &Entry) {
        let lan = Prefix {
            address: "10.77.0.1".parse().unwrap(),
            length: 24,
        };
        let mut writer = TableWriter::new(&self.table, 1);
        writer.set_lan(&[lan], &[lan], &[]);
        writer.insert(name.id.tag(), entry).unwrap();
    }

    pub(super) fn publish_interface(&self, interface: &Interface) {
        TableWriter::new(&self.table, 1).set_interface(interface);
    }

    pub(super) fn tcp(&self, family: Family, local: Option<SocketAddr>) -> Fd {
        let local = local.unwrap_or(wildcard(family, 0));
        self.add(Socket::Tcp {
            family,
            local,
            listening: false,
        })
    }

    pub(super) fn udp(&self, family: Family, local: Option<SocketAddr>) -> Fd {
        let local = local.unwrap_or(wildcard(family, 0));
        self.add(Socket::Udp { family, local })
    }

    pub(super) fn add(&self, socket: Socket) -> Fd {
        let mut open = self.open.borrow_mut();
        let fd = (3..).find(|fd| !open.contains_key(fd)).unwrap();
        let made = Open {
            socket,
            nonblocking: false,
            close_on_exec: false,
            options: BTreeMap::new(),
            pair: -1,
        };
        open.insert(fd, made);
        fd
    }

    pub(super) fn socket_at(&self, fd: Fd) -> Socket {
        self.open.borrow()[&fd].socket.clone()
    }

    pub(super) fn change(&self, fd: Fd, change: impl FnOnce(&mut Open)) {
        change(self.open.borrow_mut().get_mut(&fd).unwrap());
    }

    pub(super) fn descriptors(&self) -> Vec<Fd> {
        self.open.borrow().keys().copied().collect()
    }

    fn get(&self, fd: Fd) -> Result<Open, Errno> {
        self.open.borrow().get(&fd).cloned().ok_or(Errno(EBADF))
    }

    /// Fails the call whose turn it is.
    fn falter(&self) -> Result<(), Errno> {
        match self.fail_after.get() {
            Some(0) => {
                self.fail_after.set(None);
                Err(Errno(ENOBUFS))
            }
            left => {
                self.fail_after.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }

    fn put(bytes: &[u8], buffer: &mut [u8]) -> usize {
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = *from;
        }
        bytes.len()
    }
}

impl Kernel for Simulated {
    fn socket_pair(&self, kind: i32, nonblocking: bool) -> Result<(Fd, Fd), Errno> {
        self.falter()?;
        let end = || {
            self.add(Socket::Pair {
                kind,
                name: Vec::new(),
                peer: Vec::new(),
            })
        };
        let (a, b) = (end(), end());
        for (fd, other) in [(a, b), (b, a)] {
            self.change(fd, |open| {
                open.nonblocking = nonblocking;
                open.close_on_exec = true;
                open.pair = other;
            });
        }
        Ok((a, b))
    }

    fn socket(&self, domain: i32, kind: i32, _: i32) -> Result<Fd, Errno> {
        assert_eq!(
            domain,
            i32::from(AF_UNIX),
            "no operation makes kernel sockets"
        );
        self.falter()?;
        Ok(self.add(Socket::Pair {
            kind,
            name: Vec::new(),
            peer: Vec::new(),
        }))
    }

    fn connect_path(&self, path: &[u8]) -> Result<Fd, Errno> {
        assert_eq!(path, b"/run/zt/nc_1");
        self.falter()?;
        if self.service.borrow().is_none() {
            return Err(Errno(ECONNREFUSED));
        }
        Ok(self.add(Socket::Control {
            reply: Vec::new(),
            attached: Vec::new(),
        }))
    }

    fn connect_to(&self, _: Fd, _: &[u8]) -> Result<(), Errno> {
        // A service without a streams socket.
        Err(Errno(ECONNREFUSED))
    }

    fn close(&self, fd: Fd) {
        let closed = self.open.borrow_mut().remove(&fd);
        match closed.map(|open| open.socket) {
            // What was not received goes with the connection.
            Some(Socket::Control { attached, .. }) => {
                attached.iter().for_each(|&fd| self.close(fd))
            }
            Some(_) => {}
            None => panic!("descriptor {fd} closed twice"),
        }
    }

    fn bind(&self, fd: Fd, address: &[u8]) -> Result<(), Errno> {
        self.falter()?;
        let peer = self.get(fd)?.pair;
        let privileged = self.privileged.get();
        let mut result = Ok(());
        self.change(fd, |open| match &mut open.socket {
            Socket::Pair { name, .. } => *name = address.to_vec(),
            Socket::Tcp { local, .. } | Socket::Udp { local, .. } => match parse(address) {
                Some(at) if at.address.port() < 1024 && !privileged => result = Err(Errno(EACCES)),
                Some(at) => *local = at.address,
                None => result = Err(Errno(EINVAL)),
            },
            _ => result = Err(Errno(ENOTSOCK)),
        });
        if self.open.borrow().contains_key(&peer) {
            self.change(peer, |open| {
                if let Socket::Pair { peer, .. } = &mut open.socket {
                    *peer = address.to_vec();
                }
            });
        }
        result
    }

    fn disconnect(&self, _: Fd) -> Result<(), Errno> {
        self.falter()
    }

    fn peek(&self, _: Fd, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno(EAGAIN))
    }

    fn listen(&self, fd: Fd, _: i32) -> Result<(), Errno> {
        self.falter()?;
        self.change(fd, |open| {
            if let Socket::Tcp {
                listening, local, ..
            } = &mut open.socket
            {
                *listening = true;
                if local.port() == 0 {
                    local.set_port(32_768);
                }
            }
        });
        Ok(())
    }

    fn local_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.get(fd)?.socket {
            Socket::Tcp { family, local, .. } | Socket::Udp { family, local } => {
                Ok(Self::put(encode(local, family).as_bytes(), buffer))
            }
            Socket::Pair { name, .. } if name.is_empty() => {
                Ok(Self::put(&AF_UNIX.to_ne_bytes(), buffer))
            }
            Socket::Pair { name, .. } => Ok(Self::put(&name, buffer)),
            _ => Err(Errno(ENOTSOCK)),
        }
    }

    fn peer_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.get(fd)?.socket {
            Socket::Pair { peer, .. } => Ok(Self::put(&peer, buffer)),
            Socket::Tcp { .. } | Socket::Udp { .. } => Err(Errno(ENOTCONN)),
            _ => Err(Errno(ENOTSOCK)),
        }
    }

    fn option(&self, fd: Fd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
        let open = self.get(fd)?;
        if let Some(stored) = open.options.get(&(level, name)) {
            return Ok(Self::put(stored, value).min(value.len()));
        }
        let number = match (&open.socket, level, name) {
            (Socket::Other | Socket::Control { .. } | Socket::Table, ..) => {
                return Err(Errno(ENOTSOCK));
            }
            (Socket::Tcp { .. }, SOL_SOCKET, SO_PROTOCOL) => IPPROTO_TCP,
            (Socket::Udp { .. }, SOL_SOCKET, SO_PROTOCOL) => IPPROTO_UDP,
            (Socket::Udp { .. }, SOL_SOCKET, SO_TYPE) => SOCK_DGRAM,
            (
                Socket::Tcp {
                    family: Family::V4, ..
                }
                | Socket::Udp {
                    family: Family::V4, ..
                },
                SOL_SOCKET,
                SO_DOMAIN,
            ) => i32::from(AF_INET),
            (
                Socket::Tcp {
                    family: Family::V6, ..
                }
                | Socket::Udp {
                    family: Family::V6, ..
                },
                SOL_SOCKET,
                SO_DOMAIN,
            ) => i32::from(AF_INET6),
            (
                Socket::Tcp {
                    listening: true, ..
                },
                SOL_TCP,
                TCP_INFO,
            ) => i32::from(TCP_STATE_LISTEN),
            (Socket::Tcp { .. }, SOL_TCP, TCP_INFO) => i32::from(TCP_STATE_CLOSE),
            (_, SOL_SOCKET, _) => 0,
            _ => return Err(Errno(EOPNOTSUPP)),
        };
        Ok(Self::put(&number.to_ne_bytes(), value).min(value.len()))
    }

    fn set_option(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.falter()?;
        if (level, name) == (SOL_SOCKET, SO_BINDTODEVICE) && !self.confines.get() {
            return Err(Errno(EACCES));
        }
        self.change(fd, |open| {
            open.options.insert((level, name), value.to_vec());
        });
        Ok(())
    }

    fn shut_sending(&self, _: Fd) -> Result<(), Errno> {
        self.falter()
    }

    fn send_zeros(&self, fd: Fd, _: usize) -> Result<usize, Errno> {
        self.falter()?;
        // The first fills the buffer.
        const FILLED: (i32, i32) = (-1, -1);
        let mut result = Err(Errno(EAGAIN));
        self.change(fd, |open| {
            if open.options.insert(FILLED, Vec::new()).is_none() {
                result = Ok(65_000);
            }
        });
        result
    }

    fn send_message(&self, fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno> {
        self.falter()?;
        let request = Request::parse(message).unwrap();
        for descriptor in descriptors {
            assert!(self.open.borrow().contains_key(descriptor));
        }
        let mut attached = Vec::new();
        let answer = if request == Request::Hello {
            attached.push(self.add(Socket::Table));
            Some(Reply::Hello { instance: 1 })
        } else {
            self.requests
                .borrow_mut()
                .push((request, descriptors.len()));
            self.service
                .borrow()
                .as_ref()
                .and_then(|service| service(&request))
        };
        let mut bytes = [0; MAX_MESSAGE];
        let len = answer.map_or(0, |answer| answer.emit(&mut bytes));
        self.change(fd, |open| {
            open.socket = Socket::Control {
                reply: bytes[..len].to_vec(),
                attached,
            }
        });
        Ok(())
    }

    fn receive_message(
        &self,
        fd: Fd,
        buffer: &mut [u8],
        descriptors: &mut Received,
        _: bool,
        _: Waiting,
    ) -> Result<usize, Errno> {
        self.falter()?;
        let Socket::Control { reply, attached } = self.get(fd)?.socket else {
            return Err(Errno(ENOTSOCK));
        };
        for (to, from) in descriptors.iter_mut().zip(attached) {
            *to = Some(from);
        }
        let len = Self::put(&reply, buffer);
        self.change(fd, |open| {
            open.socket = Socket::Control {
                reply,
                attached: Vec::new(),
            }
        });
        Ok(len)
    }

    fn wait(&self, _: Fd, events: i16, _: i32) -> Result<i16, Errno> {
        self.falter()?;
        Ok(if self.hung_up.get() {
            events | POLLHUP
        } else {
            events
        })
    }

    fn sleep(&self, milliseconds: i32) {
        self.slept.set(self.slept.get() + milliseconds);
    }

    fn is_nonblocking(&self, fd: Fd) -> Result<bool, Errno> {
        self.falter()?;
        self.get(fd).map(|open| open.nonblocking)
    }

    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        self.falter()?;
        self.change(fd, |open| open.nonblocking = on);
        Ok(())
    }

    fn is_close_on_exec(&self, fd: Fd) -> Result<bool, Errno> {
        self.falter()?;
        self.get(fd).map(|open| open.close_on_exec)
    }

    fn replace(&self, from: Fd, onto: Fd, close_on_exec: bool) -> Result<(), Errno> {
        self.falter()?;
        let mut moved = self.open.borrow_mut().remove(&from).unwrap();
        moved.close_on_exec = close_on_exec;
        self.open.borrow_mut().insert(onto, moved);
        Ok(())
    }

    fn check_room(&self, _: Fd) -> Result<(), Errno> {
        self.falter()
    }

    fn epoll_control(
        &self,
        epoll: Fd,
        operation: i32,
        fd: Fd,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        self.epoll.borrow_mut().push((epoll, operation, fd, event));
        Ok(())
    }

    fn read_fd_info(&self, _: Fd, _: u64, _: &mut [u8]) -> Result<usize, Errno> {
        Ok(0)
    }

    fn file_stamp(&self, path: &[u8]) -> Option<u64> {
        match path {
            b"/run/zt/nc_1" => Some(self.stamp.get()).filter(|&stamp| stamp != 0),
            b"/run/zt" => Some(1),
            _ => panic!("unexpected path"),
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        buffer.fill(self.next_random.get());
        self.next_random.set(self.next_random.get() + 1);
    }

    fn table(&self) -> Option<Table<'_>> {
        self.mapped
            .get()
            .then(|| Table::open(&self.table).ok())
            .flatten()
    }

    fn map_table(&self, _: Fd) -> Result<(), Errno> {
        self.falter()?;
        self.mapped.set(true);
        Ok(())
    }
}
