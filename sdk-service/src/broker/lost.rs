//! Datagrams that did not arrive: what programs are told of them.

use rustix::io::Errno;
use zt_netstack::{Loss, UdpFailure};
use zt_socket_rpc::{Id, Kind, Lost, Reply, lost};

use super::datagram::Datagram;
use super::{Broker, Socket, Turn, echo, native};

impl Broker {
    /// The oldest loss that a socket keeps.
    pub(super) fn take_lost(&mut self, turn: &mut Turn<'_>, id: Id) -> Reply {
        let none = Reply::Failed {
            errno: Errno::AGAIN.raw_os_error(),
        };
        let Some(&Socket::Datagram(key)) = self.by_id.get(&id) else {
            self.counters.wrong_id += 1;
            return none;
        };
        let Some(socket) = self.datagrams.get(key) else {
            return none;
        };
        if let Some(loss) = turn.host.udp_take_loss(socket.host) {
            return Reply::Lost(socket.lost(loss));
        }
        let kernel = socket.kernel.as_ref().and_then(native::take_lost);
        kernel.map_or(none, Reply::Lost)
    }
}

impl Datagram {
    pub(super) fn keeps_losses(&self) -> bool {
        self.entry.options.receive_errors
    }

    /// What the program is told of a loss.
    fn lost(&self, loss: Loss) -> Lost {
        let origin = if loss.peer.is_ipv4() {
            lost::Origin::Icmp
        } else {
            lost::Origin::Icmp6
        };
        let errno = errno_of(loss.failure).raw_os_error() as u16;
        let mut payload = loss.payload;
        if self.entry.kind == Kind::RawEcho {
            echo::restore_identifier(&mut payload, self.identifier);
        }
        let (kind, code) = loss.message;
        let mut lost = Lost::new(errno, origin, kind, code, loss.peer).with_payload(&payload);
        lost.offender = Some(loss.offender);
        lost
    }
}

pub(super) const fn errno_of(failure: UdpFailure) -> Errno {
    match failure {
        UdpFailure::Refused => Errno::CONNREFUSED,
        UdpFailure::Unreachable | UdpFailure::Expired => Errno::HOSTUNREACH,
    }
}
