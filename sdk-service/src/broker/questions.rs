//! Questions that a program sends to a name server by itself: those about the LAN are answered here, in the server's place.
//!
//! A program without the C library's functions knows its name servers from a file, and none of them knows the LAN's
//! names. So what the service alone can answer goes to its own resolver instead, and the answer comes back as if it were
//! the server's. In isolated mode everything does, for a name server is as far away as all else: names that are not the
//! LAN's are refused.

use std::net::SocketAddr;

use zt_netstack::names::{DNS_PORT, Message, Names, RESOLVER};
use zt_socket_rpc::{DatagramHeader, Kind};

use super::datagram::Datagram;

/// The service's own resolver.
pub(super) const OWN: SocketAddr = SocketAddr::new(RESOLVER, DNS_PORT);

impl Datagram {
    /// Whether a destination may be a name server that knows nothing of the LAN.
    pub(super) fn may_be_name_server(&self, to: SocketAddr, leads_to_lan: bool) -> bool {
        self.entry.kind == Kind::Datagram && to.port() == DNS_PORT && !leads_to_lan
    }

    /// The header of a datagram that goes to the service instead.
    pub(super) fn redirected(
        &mut self,
        header: &DatagramHeader,
        leads_to_lan: bool,
        names: &Names,
        payload: &[u8],
    ) -> Option<DatagramHeader> {
        let server = header.peer?;
        if !self.may_be_name_server(server, leads_to_lan) {
            return None;
        }
        let question = Message::parse(payload).ok().filter(Message::is_question)?;
        let mut asked = question.questions.iter();
        if !self.is_isolated && !asked.any(|asked| names.covers(&asked.name)) {
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
}
