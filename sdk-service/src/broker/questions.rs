//! Questions that a program sends to a name server by itself: those about the LAN are answered here, in the server's place.
//!
//! A program without the C library's functions knows its name servers from a file, and none of them knows the LAN's
//! names. So what the service alone can answer goes to its own resolver instead, and the answer comes back as if it were
//! the server's. In isolated mode everything does, for a name server is as far away as all else: names that are not the
//! LAN's are refused.

use std::net::SocketAddr;

use zt_netstack::names::{DNS_PORT, Message, RESOLVER};
use zt_socket_rpc::table::Table;
use zt_socket_rpc::{DatagramHeader, Kind, Reach};

use super::datagram::{Datagram, Means};

/// The service's own resolver.
pub(super) const OWN: SocketAddr = SocketAddr::new(RESOLVER, DNS_PORT);

impl Datagram {
    /// Whether a destination may be a name server that knows nothing of the LAN. One that a route of the LAN leads to is left
    /// alone; a default route leads to every other too.
    pub(super) fn may_be_name_server(&self, to: SocketAddr, table: Table<'_>) -> bool {
        self.entry.kind == Kind::Datagram
            && to.port() == DNS_PORT
            && table.route_to(to.ip()).is_none_or(|length| length == 0)
    }

    /// The header of a datagram that goes to the service instead.
    pub(super) fn redirected(
        &mut self,
        header: &DatagramHeader,
        means: &Means<'_>,
        payload: &[u8],
    ) -> Option<DatagramHeader> {
        let server = header.peer?;
        if !self.may_be_name_server(server, means.table) {
            return None;
        }
        let question = Message::parse(payload).ok().filter(Message::is_question)?;
        let mut asked = question.questions.iter();
        if !self.is_isolated && !asked.any(|asked| means.names.covers(&asked.name)) {
            return None;
        }
        self.asked = Some(server);
        Some(DatagramHeader {
            peer: Some(OWN),
            local: None,
            interface: 0,
            ..*header
        })
    }

    /// The server in whose place a datagram of the LAN has answered.
    pub(super) fn answered_for(&self, from: SocketAddr) -> Option<SocketAddr> {
        self.asked.filter(|_| from == OWN)
    }

    /// Whether a datagram of the LAN is for the program. The host knows no peer of a socket that is connected to a name
    /// server, for the service may answer in its place.
    pub(super) fn takes_from_lan(&self, from: SocketAddr) -> bool {
        match self.side {
            Some(Reach::Own) => self.answered_for(from).is_some(),
            Some(_) if self.has_server => from == OWN || self.entry.remote == Some(from),
            _ => true,
        }
    }
}
