//! `connect`: the destination decides.

use core::net::SocketAddr;

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{Connect, Entry, Family, Id, Kind, Name, Options, Reach, Request, State};

use crate::Program;
use crate::control::Waited;
use crate::kernel::{Errno, Fd, Kernel, POLLOUT};
use crate::lan::{Lan, Mode, is_loopback, is_private};
use crate::native::{SNDBUF_LOCK, TCP_STATE_CLOSE, Timeval};
use crate::outcome::{End, Outcome, Reason, Step};
use crate::own::Mark;
use crate::sockaddr::{Given, parse, scope_of};

/// What a new attempt carries from the descriptor that it replaces.
pub(super) struct Attempt {
    pub(super) remote: SocketAddr,
    pub(super) local: Option<SocketAddr>,
    pub(super) family: Family,
    pub(super) nonblocking: bool,
    close_on_exec: bool,
    pub(super) options: Options,
    /// No time-outs or buffer sizes were chosen.
    untouched: bool,
}

impl<K: Kernel> Program<'_, K> {
    /// `connect(fd, address)`.
    pub fn connect(&self, fd: Fd, address: &[u8]) -> Outcome {
        let untouched = self.kernel.take_untouched(fd);
        if let Some(id) = self.datagram(fd) {
            return self.connect_own_datagram(fd, id, address).into();
        }
        let Some(to) = parse(address) else {
            return self.dissolve(fd, address).into();
        };
        let end = match self.own(fd) {
            Some(Name { kind, id }) if kind.is_framed() => {
                self.connect_own_datagram(fd, id, address)
            }
            Some(name) => self.connect_own(fd, name, to),
            None => self.unless_bound_to_lan(fd, self.connect_native(fd, to, untouched)),
        };
        end.into()
    }

    /// The service, if the LAN is where a destination is.
    pub(crate) fn lan_of_destination(&self, to: Given) -> Step<Lan<'_>> {
        // The wildcard address means this host to Linux.
        if is_loopback(to.address) || to.address.ip().is_unspecified() {
            return Err(Reason::Loopback.into());
        }
        let lan = if is_private(to.address) {
            self.lan_at_start()
        } else {
            self.lan()
        };
        let routed = match &lan {
            Lan::Up(table) | Lan::Away(Some(table)) => {
                table.reach(to.address.ip(), scope_of(to.address)) != Reach::Own
            }
            Lan::Away(None) => false,
        };
        if !routed && self.settings.mode() == Mode::Split {
            return Err(if matches!(lan, Lan::Away(None)) {
                Reason::ServiceAway
            } else {
                Reason::NotOnTheLan
            }
            .into());
        }
        Ok(lan)
    }

    /// The service for a question to a name server of the container's own network; without it that is left to the kernel.
    pub(super) fn lan_of_question(&self, own: End) -> Step<Lan<'_>> {
        match self.lan() {
            Lan::Away(_) => Err(own),
            up @ Lan::Up(_) => Ok(up),
        }
    }

    /// An undecided socket of the kernel.
    fn connect_native(&self, fd: Fd, to: Given, untouched: bool) -> Step<i32> {
        let lan = match self.lan_of_destination(to) {
            Err(own) if self.settings.watches(to.address) => {
                let (family, kind) = self.datagram_socket(fd).map_err(|_| own)?;
                return self.connect_datagram(fd, family, kind, to, &self.lan_of_question(own)?);
            }
            lan => lan?,
        };
        let tcp = self.tcp_family(fd);
        if tcp.is_err()
            && let Ok((family, kind)) = self.datagram_socket(fd)
        {
            return self.connect_datagram(fd, family, kind, to, &lan);
        }
        let family = tcp?;
        // An IPv4 address on an IPv6 socket, or the other way round: the kernel has the right errno.
        if family != to.family {
            return Err(Reason::NotInternet.into());
        }
        // Connecting, connected or listening already.
        if self.tcp_state(fd)? != TCP_STATE_CLOSE {
            return Err(Reason::NotTcp.into());
        }
        let native = if untouched {
            self.native_untouched(fd, family)?
        } else {
            self.native(fd, family)?
        };
        if native.options.v6_only && to.address.is_ipv4() {
            return Err(Reason::NotInternet.into());
        }
        if !native.local.ip().is_unspecified() {
            return Err(Reason::BoundElsewhere.into());
        }
        if matches!(lan, Lan::Away(_)) {
            return Err(Errno(ENETUNREACH).into());
        }
        let attempt = Attempt {
            remote: to.address,
            local: (native.local.port() != 0).then_some(native.local),
            family,
            nonblocking: native.nonblocking,
            close_on_exec: native.close_on_exec,
            options: native.options,
            // From outside only those options are seen that the service must know.
            untouched: untouched && self.kernel.keeps_descriptors(),
        };
        self.attempt(fd, &attempt)
    }

    /// A descriptor that is ours already.
    fn connect_own(&self, fd: Fd, name: Name, to: Given) -> Step<i32> {
        let entry = self.entry(name.id).ok_or(Errno(ENETUNREACH))?;
        match (name.kind, entry.state) {
            (_, State::Connecting) => self.connect_again_while_connecting(fd, name.id),
            // Linux reports the end of a non-blocking attempt to the first `connect` that follows it.
            (_, State::Connected) if self.unmark(fd, Mark::SuccessUntold) => Ok(0),
            (_, State::Connected | State::Reset | State::Listening) => Err(Errno(EISCONN).into()),
            (Kind::Stream, State::Failed) => match self.take_error(fd, name.id) {
                Some(errno) => {
                    self.mark(fd, Mark::ErrorTaken);
                    Err(errno.into())
                }
                None => self.attempt(fd, &self.next_attempt(fd, &entry, to)?),
            },
            (_, State::Failed | State::Bound) => {
                self.attempt(fd, &self.next_attempt(fd, &entry, to)?)
            }
        }
    }

    fn connect_again_while_connecting(&self, fd: Fd, id: Id) -> Step<i32> {
        if self.kernel.is_nonblocking(fd)? {
            return Err(Errno(EALREADY).into());
        }
        self.kernel.wait(fd, POLLOUT, -1)?;
        match self.entry(id) {
            Some(entry) if entry.state == State::Connected => {
                self.unmark(fd, Mark::SuccessUntold);
                Ok(0)
            }
            Some(_) => Err(self
                .take_error(fd, id)
                .unwrap_or(Errno(ECONNABORTED))
                .into()),
            None => Err(Errno(ENETUNREACH).into()),
        }
    }

    fn next_attempt(&self, fd: Fd, entry: &Entry, to: Given) -> Step<Attempt> {
        let local = match entry.state {
            State::Bound => entry.local,
            _ => None,
        };
        Ok(Attempt {
            remote: to.address,
            local,
            family: entry.family,
            nonblocking: self.kernel.is_nonblocking(fd)?,
            close_on_exec: self.kernel.is_close_on_exec(fd)?,
            options: entry.options,
            untouched: false,
        })
    }

    /// Carries over what the program's half itself must have. Whether it can be narrow: it must be possible to widen it,
    /// so a blocking attempt ends within this call, and a size that was chosen stays.
    pub(super) fn prepare(&self, ours: Fd, fd: Fd, attempt: &Attempt) -> bool {
        if !attempt.untouched {
            self.carry_over(fd, ours);
        }
        (!attempt.nonblocking || self.kernel.keeps_descriptors())
            && self.datagrams.has_place(fd)
            && (attempt.untouched || self.buffer_locks(ours) & SNDBUF_LOCK == 0)
    }

    fn attempt(&self, fd: Fd, attempt: &Attempt) -> Step<i32> {
        if let Some(ours) = self.begin_straight(fd, attempt)? {
            self.swap_stream(ours, fd, attempt, true)?;
            self.mark_first(fd, Mark::SuccessUntold);
            return Err(Errno(EINPROGRESS).into());
        }
        let pair = self.new_pair(Kind::Stream, SOCK_STREAM, attempt.nonblocking)?;
        let narrow = self.prepare(pair.ours, fd, attempt);
        let sent = self.plug_stream(pair.ours, narrow).and_then(|plug| {
            let request = Request::Connect(Connect {
                id: pair.id,
                remote: attempt.remote,
                local: attempt.local,
                family: attempt.family,
                wait: !attempt.nonblocking,
                plug,
                options: attempt.options,
            });
            // With both halves the service can connect two of its programs without being in between.
            let both = [pair.service, pair.ours];
            let halves = if self.is_own(attempt.remote.ip()) {
                &both[..]
            } else {
                &both[..1]
            };
            if attempt.nonblocking {
                self.send_request(&request, halves).map(|()| None)
            } else {
                let limit: Timeval = self.timeout(fd, SO_SNDTIMEO_OLD);
                self.exchange_connect(&request, halves, &limit).map(Some)
            }
        });
        self.kernel.close(pair.service);
        let channel = match sent {
            Ok(channel) => channel,
            Err(errno) => {
                self.kernel.close(pair.ours);
                return Err(errno.into());
            }
        };
        if let Err(errno) = self.swap_stream(pair.ours, fd, attempt, narrow) {
            if let Some(channel) = channel {
                self.abandon(channel);
            }
            return Err(errno.into());
        }
        let Some(channel) = channel else {
            self.mark_first(fd, Mark::SuccessUntold);
            return Err(Errno(EINPROGRESS).into());
        };
        match self.wait_connected(channel) {
            Waited::Failed(errno) => {
                // Told now, so no longer pending.
                let _ = self.int_option(fd, SOL_SOCKET, SO_ERROR);
                self.mark_first(fd, Mark::ErrorTaken);
                Err(Errno(errno).into())
            }
            Waited::Connected => {
                if narrow {
                    self.widen(fd);
                }
                Ok(0)
            }
            Waited::Interrupted(errno) => {
                self.mark_first(fd, Mark::SuccessUntold);
                Err(if errno == Errno(EAGAIN) {
                    Errno(EINPROGRESS)
                } else {
                    errno
                }
                .into())
            }
        }
    }

    /// Puts the program's half in the place of its descriptor.
    fn swap_stream(&self, ours: Fd, fd: Fd, attempt: &Attempt, narrow: bool) -> Result<(), Errno> {
        self.swap(ours, fd, attempt.close_on_exec)?;
        self.registrations.forget(fd);
        if narrow {
            self.note(self.datagrams, fd);
        }
        Ok(())
    }

    /// A look at a descriptor that may have the buffer of its attempt: as soon as the attempt has come to something, it
    /// gets the full one.
    pub(crate) fn widen_if_up(&self, fd: Fd, id: Id) {
        match self.entry(id) {
            Some(entry) if entry.state == State::Connecting => {}
            Some(_) => self.widen(fd),
            // Its service has not read the request yet; or has ended.
            None if self.is_alive(fd) => {}
            None => {
                self.datagrams.remove(fd);
            }
        }
    }

    /// Whether an address is one of the service's own on the LAN.
    pub(super) fn is_own(&self, ip: core::net::IpAddr) -> bool {
        self.kernel.table().is_some_and(|table| table.is_own(ip))
    }

    /// The pending error of a connection, once: what `SO_ERROR` and a repeated `connect` report.
    pub(crate) fn take_error(&self, fd: Fd, id: Id) -> Option<Errno> {
        // The pair's own error says that the outcome is visible to the program, the entry, which was written before,
        // says what it was: so in this order.
        let pending = match self.int_option(fd, SOL_SOCKET, SO_ERROR) {
            Ok(errno) if errno != 0 => Some(Errno(errno)),
            _ => None,
        };
        let entry = self.entry(id)?;
        match entry.state {
            State::Failed => pending.map(|_| Errno(entry.errno)),
            State::Reset => {
                let first = self.mark(fd, Mark::ErrorTaken);
                (pending.is_some() || first).then_some(Errno(entry.errno))
            }
            _ => pending,
        }
    }
}
