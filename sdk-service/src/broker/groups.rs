//! Multicast groups of programs: joined on the LAN, on the program's own network, or on both.
//!
//! Where no interface was named both networks are meant, and one of them is enough: a container often has no route for
//! groups on its own.

use std::net::IpAddr;

use rustix::io::Errno;
use zt_netstack::{GroupError, Host};
use zt_socket_rpc::{LAN_INTERFACE, Membership};

use super::datagram::Datagram;
use super::requests::Answer;
use super::{Broker, Socket, Turn, native};

impl Broker {
    pub(super) fn change_membership(
        &mut self,
        turn: &mut Turn<'_>,
        membership: &Membership,
    ) -> Answer {
        let socket = match self.by_id.get(&membership.id) {
            Some(&Socket::Datagram(key)) => self.datagrams.get_mut(key),
            _ => None,
        };
        let Some(socket) = socket else {
            self.counters.wrong_id += 1;
            return Answer::None;
        };
        match socket.change_membership(turn.host, membership) {
            Ok(()) => Answer::Done(socket.bound),
            Err(errno) => Answer::Failed(errno),
        }
    }
}

impl Datagram {
    fn change_membership(&mut self, host: &mut Host, membership: &Membership) -> Result<(), Errno> {
        if !membership.group.is_multicast() {
            return Err(Errno::INVAL);
        }
        let named = membership.interface != 0 || membership.address.is_some();
        let is_lan = !named || membership.interface == LAN_INTERFACE;
        let kernel = self
            .kernel
            .as_ref()
            .filter(|_| membership.interface != LAN_INTERFACE && !(self.is_isolated && is_lan));
        let own = kernel.map(|kernel| native::change_membership(kernel, membership));
        let lan = is_lan.then(|| match membership.join {
            true => self.join(host, membership.group),
            false => self.leave(host, membership.group),
        });
        match (lan, own) {
            (Some(Ok(())), _) | (_, Some(Ok(()))) => Ok(()),
            (Some(Err(errno)), _) | (None, Some(Err(errno))) => Err(errno),
            // Another interface than the LAN's, for a socket that has nothing else.
            (None, None) => Err(Errno::NODEV),
        }
    }

    fn join(&mut self, host: &mut Host, group: IpAddr) -> Result<(), Errno> {
        host.multicast_join(self.host, group).map_err(group_errno)?;
        self.groups.push(group);
        Ok(())
    }

    fn leave(&mut self, host: &mut Host, group: IpAddr) -> Result<(), Errno> {
        host.multicast_leave(self.host, group)
            .map_err(group_errno)?;
        self.groups.retain(|joined| *joined != group);
        Ok(())
    }

    /// Joins the groups of a socket anew that another one of the host has taken the place of.
    pub(super) fn join_again(&self, host: &mut Host) {
        for group in &self.groups {
            // It has had as many before.
            let _ = host.multicast_join(self.host, *group);
        }
    }
}

fn group_errno(error: GroupError) -> Errno {
    match error {
        GroupError::AddrInUse => Errno::ADDRINUSE,
        GroupError::AddrNotAvailable => Errno::ADDRNOTAVAIL,
        GroupError::TooMany => Errno::NOBUFS,
        _ => Errno::INVAL,
    }
}
