//! An Ethernet frame of a virtual network, borrowed from wherever it lies.

use crate::Mac;

/// An Ethernet frame without its header bytes. VLAN tags are not carried (VL2 §1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who sent it.
    pub src: Mac,
    /// Whom it is for; may be a multicast MAC.
    pub dst: Mac,
    /// What the payload is.
    pub ethertype: u16,
    /// Everything after the Ethernet header.
    pub payload: &'a [u8],
}

/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
