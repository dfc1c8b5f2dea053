//! Multicast groups: which interface a program means, and moving a socket that means the LAN.
//!
//! A group is joined on the interface that was named; where none was, on the LAN and on the container's own network. A
//! socket that has only joined is not bound yet, and may be bound later.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{Family, Kind, LAN_INTERFACE, Membership, Name, Reply, Request};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::lan::Lan;
use crate::outcome::{Reason, Step};
use crate::sockaddr::parse;

/// An interface as programs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interface {
    /// 0 if it was not named so.
    index: u32,
    address: Option<Ipv4Addr>,
}

/// What an option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Join(IpAddr, Interface),
    Leave(IpAddr, Interface),
    /// Where what is for a group leaves.
    Through(Interface),
}

impl<K: Kernel> Program<'_, K> {
    /// An option about groups on a socket that may still be the kernel's own: moved to the LAN if that is meant.
    pub(super) fn set_group_option(
        &self,
        fd: Fd,
        level: i32,
        name: i32,
        value: Option<&[u8]>,
    ) -> Step<i32> {
        let (family, kind) = self.datagram_socket(fd)?;
        let wish = value
            .filter(|_| kind == Kind::Datagram)
            .and_then(|value| self.wish(level, name, value))
            .ok_or(Reason::Native)?;
        let is_for_lan = match wish {
            // Nothing was joined on the LAN.
            Wish::Leave(..) => false,
            Wish::Join(group, interface) => {
                group.is_multicast() && (interface.is_lan() || interface.is_any())
            }
            Wish::Through(interface) => interface.is_lan(),
        };
        if !is_for_lan {
            return Err(Reason::NotOnTheLan.into());
        }
        if matches!(self.lan_at_start(), Lan::Away(_)) {
            return Err(Reason::ServiceAway.into());
        }
        let id = self.move_unbound(fd, family, kind, self.own_network(fd))?;
        self.set_own_group_option(Name { kind, id }, level, name, value.unwrap_or_default())
    }

    /// The same on a socket of ours.
    pub(super) fn set_own_group_option(
        &self,
        own: Name,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Step<i32> {
        let wish = self.wish(level, name, value).ok_or(Errno(EINVAL))?;
        let membership = |group, interface: Interface, join| {
            Request::Membership(Membership {
                id: own.id,
                group,
                join,
                interface: interface.index,
                address: interface.address,
            })
        };
        let request = match wish {
            Wish::Join(group, interface) => membership(group, interface, true),
            Wish::Leave(group, interface) => membership(group, interface, false),
            Wish::Through(interface) if level == SOL_IP => {
                let address = interface.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
                let mut request = [0; 12];
                for (to, from) in request.iter_mut().skip(4).zip(
                    address
                        .octets()
                        .into_iter()
                        .chain(interface.index.to_ne_bytes()),
                ) {
                    *to = from;
                }
                return self.send_option(own, level, name, &request);
            }
            Wish::Through(_) => return self.send_option(own, level, name, value),
        };
        let (reply, extra) = self.exchange(&request, &[])?;
        self.close_all(&[extra]);
        match reply {
            Reply::Done { .. } => Ok(0),
            Reply::Failed { errno } => Err(Errno(errno).into()),
            _ => Err(Errno(ENETUNREACH).into()),
        }
    }

    fn wish(&self, level: i32, name: i32, value: &[u8]) -> Option<Wish> {
        let index = |at| Some(u32::from_ne_bytes(*part(value, at)?));
        let v4 = |at| Some(Ipv4Addr::from(*part::<4>(value, at)?));
        let by_index = |index| Interface {
            index,
            address: None,
        };
        let (group, interface) = match (level, name) {
            (SOL_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP) => {
                // `struct ip_mreqn`, or `struct ip_mreq`, which has no index.
                let index = index(8).unwrap_or(0);
                (v4(0)?.into(), self.interface_meant(index, v4(4)?))
            }
            (SOL_IPV6, IPV6_ADD_MEMBERSHIP | IPV6_DROP_MEMBERSHIP) => {
                let group = Ipv6Addr::from(*part::<16>(value, 0)?);
                (IpAddr::from(group), by_index(index(16)?))
            }
            (SOL_IP | SOL_IPV6, MCAST_JOIN_GROUP | MCAST_LEAVE_GROUP) => {
                // `struct group_req`: an index, and an address at the next multiple of a word.
                let group = parse(value.get(8..)?)?.address.ip();
                (group, by_index(index(0)?))
            }
            (SOL_IP, IP_MULTICAST_IF) => {
                let (index, address) = match value.len() {
                    0..8 => (0, v4(0)?),
                    8..12 => (0, v4(4)?),
                    _ => (index(8)?, v4(4)?),
                };
                return Some(Wish::Through(self.interface_meant(index, address)));
            }
            (SOL_IPV6, IPV6_MULTICAST_IF) => return Some(Wish::Through(by_index(index(0)?))),
            _ => return None,
        };
        Some(match name {
            IP_DROP_MEMBERSHIP | IPV6_DROP_MEMBERSHIP | MCAST_LEAVE_GROUP => {
                Wish::Leave(group, interface)
            }
            _ => Wish::Join(group, interface),
        })
    }

    /// An index counts more than an address, which may be the LAN's.
    fn interface_meant(&self, index: u32, address: Ipv4Addr) -> Interface {
        let is_own = || match self.lan() {
            Lan::Up(table) | Lan::Away(Some(table)) => table.is_own(address.into()),
            Lan::Away(None) => false,
        };
        if index == 0 && address.is_unspecified() {
            Interface {
                index: 0,
                address: None,
            }
        } else if index == 0 && is_own() {
            Interface {
                index: LAN_INTERFACE,
                address: None,
            }
        } else {
            Interface {
                index,
                address: Some(address).filter(|address| !address.is_unspecified()),
            }
        }
    }

    /// The address of the interface through which groups are sent to, as `IP_MULTICAST_IF` tells it.
    pub(super) fn group_interface(&self, family: Family, interface: u16) -> Ipv4Addr {
        let is_lan = u32::from(interface) == LAN_INTERFACE && family == Family::V4;
        self.kernel
            .table()
            .filter(|_| is_lan)
            .and_then(|table| table.own_v4())
            .unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}

impl Interface {
    const fn is_lan(self) -> bool {
        self.index == LAN_INTERFACE
    }

    const fn is_any(self) -> bool {
        self.index == 0 && self.address.is_none()
    }
}

fn part<const N: usize>(value: &[u8], at: usize) -> Option<&[u8; N]> {
    value.get(at..)?.first_chunk()
}

/// Whether an option names a group or the interface for groups.
pub(super) const fn is_of_groups(level: i32, name: i32) -> bool {
    match level {
        SOL_IP => matches!(
            name,
            IP_MULTICAST_IF
                | IP_ADD_MEMBERSHIP
                | IP_DROP_MEMBERSHIP
                | MCAST_JOIN_GROUP
                | MCAST_LEAVE_GROUP
        ),
        SOL_IPV6 => matches!(
            name,
            IPV6_MULTICAST_IF
                | IPV6_ADD_MEMBERSHIP
                | IPV6_DROP_MEMBERSHIP
                | MCAST_JOIN_GROUP
                | MCAST_LEAVE_GROUP
        ),
        _ => false,
    }
}
