//! `listen`: the container's own network and the LAN, in one accept queue.

use core::net::SocketAddr;

use zt_socket_rpc::linux::{EINVAL, ENETDOWN, ENETUNREACH, ETIMEDOUT, SOCK_SEQPACKET};
use zt_socket_rpc::{Family, Id, Kind, Listen, Name, Options, Reply, Request, State};

use crate::Program;
use crate::home::Home;
use crate::kernel::{Errno, Fd, Kernel, POLLHUP};
use crate::lan::{Lan, Mode, is_loopback};
use crate::native::{Native, TCP_STATE_CLOSE, TCP_STATE_LISTEN};
use crate::outcome::{Outcome, Reason, Step};
use crate::sockaddr::wildcard;

impl<K: Kernel> Program<'_, K> {
    /// `listen(fd, backlog)`.
    pub fn listen(&self, fd: Fd, backlog: i32) -> Outcome {
        self.kernel.take_untouched(fd);
        let end = match self.own(fd) {
            Some(name) => self.listen_own(fd, name, backlog),
            None => self.listen_native(fd, backlog),
        };
        end.into()
    }

    /// Bound to the LAN only, or listening already.
    fn listen_own(&self, fd: Fd, name: Name, backlog: i32) -> Step<i32> {
        if name.kind != Kind::Listener {
            return Err(Errno(EINVAL).into());
        }
        if let Some(home) = self.shut_home(fd) {
            let nonblocking = self.kernel.is_nonblocking(fd)?;
            let close_on_exec = self.kernel.is_close_on_exec(fd)?;
            let backlog = clamp(backlog);
            self.renew(fd, &Home { backlog, ..home }, nonblocking, close_on_exec)?;
            return Ok(0);
        }
        let entry = self.entry(name.id).ok_or(Errno(ENETDOWN))?;
        let request = Request::Listen(Listen {
            id: name.id,
            local: entry.local.unwrap_or(wildcard(entry.family, 0)),
            family: entry.family,
            backlog: clamp(backlog),
            kernel_listener: false,
            options: entry.options,
        });
        self.listen_answer(&request, &[])?;
        if let (State::Bound, Some(local)) = (entry.state, entry.local) {
            self.set_home(
                fd,
                name.id,
                self.home_of(local, entry.family, &entry.options, backlog, false),
            );
        }
        Ok(0)
    }

    /// Where a listener belongs that its program has shut down, which ended it for the service too.
    fn shut_home(&self, fd: Fd) -> Option<Home> {
        let events = self.kernel.wait(fd, 0, 0).ok()?;
        let instance = self.kernel.table()?.instance();
        self.home(fd)
            .filter(|home| events & POLLHUP != 0 && home.instance == instance)
    }

    fn listen_native(&self, fd: Fd, backlog: i32) -> Step<i32> {
        let family = self.tcp_family(fd)?;
        match self.tcp_state(fd)? {
            TCP_STATE_CLOSE => {}
            // Listening on the container's own network only; a new backlog does not change that.
            TCP_STATE_LISTEN => return Err(Reason::BoundElsewhere.into()),
            _ => return Err(Reason::NotTcp.into()),
        }
        let local = self.local_address(fd, family);
        if is_loopback(local) {
            return Err(Reason::Loopback.into());
        }
        if !local.ip().is_unspecified() {
            return Err(Reason::BoundElsewhere.into());
        }
        if matches!(self.lan_at_start(), Lan::Away(_)) {
            return match self.settings.mode() {
                Mode::Split => Err(Reason::ServiceAway.into()),
                Mode::Isolated => Err(Errno(ENETDOWN).into()),
            };
        }
        let both =
            !self.is_bound_to_lan(fd) && (self.settings.mode() == Mode::Split || self.confine(fd));
        if both {
            // First on the kernel's network, whose errors are the kernel's own.
            self.kernel.listen(fd, backlog)?;
        }
        let native = self.native(fd, family)?;
        match self.hand_over(fd, &native, backlog, both) {
            // The service went away in between; the kernel's listener stands.
            Err(Errno(ENETUNREACH | ETIMEDOUT)) if both => Ok(0),
            Err(errno) => Err(errno.into()),
            Ok(()) => Ok(0),
        }
    }

    /// Gives the listener to the service, and its own listening kernel socket with it.
    fn hand_over(
        &self,
        fd: Fd,
        native: &Native,
        backlog: i32,
        kernel_listener: bool,
    ) -> Result<(), Errno> {
        let local = wildcard(native.family, native.local.port());
        let kernel = kernel_listener.then_some(fd);
        let (id, ours) = self.offer_listener(fd, native.nonblocking, kernel, |id| Listen {
            id,
            local,
            family: native.family,
            backlog: clamp(backlog),
            kernel_listener,
            options: native.options,
        })?;
        // An unbound listener of an isolated program has its port from the service, which no name can say beforehand.
        if local.port() != 0 {
            let home = self.home_of(
                local,
                native.family,
                &native.options,
                backlog,
                kernel_listener,
            );
            self.set_home(ours, id, home);
        }
        self.note(self.listeners, fd);
        self.swap(ours, fd, native.close_on_exec)
    }

    /// A listener pair in the service's hands, which gets the container's own listener too if there is one: the id, and
    /// the half that is to take the place of `fd`.
    pub(crate) fn offer_listener(
        &self,
        fd: Fd,
        nonblocking: bool,
        kernel: Option<Fd>,
        listen: impl FnOnce(Id) -> Listen,
    ) -> Result<(Id, Fd), Errno> {
        let pair = self.new_pair(Kind::Listener, SOCK_SEQPACKET, nonblocking)?;
        self.carry_over(fd, pair.ours);
        let both = [pair.service, kernel.unwrap_or(pair.service)];
        let descriptors = if kernel.is_some() {
            &both[..]
        } else {
            &both[..1]
        };
        let request = Request::Listen(listen(pair.id));
        let answer = self
            .plug_listener(pair.ours)
            .and_then(|()| self.listen_answer(&request, descriptors));
        self.kernel.close(pair.service);
        if let Err(errno) = answer {
            self.kernel.close(pair.ours);
            return Err(errno);
        }
        Ok((pair.id, pair.ours))
    }

    fn home_of(
        &self,
        local: SocketAddr,
        family: Family,
        options: &Options,
        backlog: i32,
        kernel: bool,
    ) -> Home {
        Home {
            kind: Kind::Listener,
            local,
            family,
            backlog: clamp(backlog),
            kernel,
            v6_only: options.v6_only,
            reuse_address: options.reuse_address,
            reuse_port: options.reuse_port,
            instance: self.kernel.table().map_or(0, |table| table.instance()),
        }
    }

    fn listen_answer(&self, request: &Request, descriptors: &[Fd]) -> Result<(), Errno> {
        let (reply, extra) = self.exchange(request, descriptors)?;
        self.close_all(&[extra]);
        match reply {
            Reply::Done { .. } => Ok(()),
            Reply::Failed { errno } => Err(Errno(errno)),
            _ => Err(Errno(ENETUNREACH)),
        }
    }
}

/// Linux reads the backlog as an unsigned number; zero still lets one connection through.
fn clamp(backlog: i32) -> u16 {
    match u16::try_from(backlog) {
        Ok(backlog) => backlog.max(1),
        Err(_) => u16::MAX,
    }
}
