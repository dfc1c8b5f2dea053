//! What a program asks of the service.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::address::{ADDRESS_LEN, decode_address, encode_address};
use crate::id::{Id, Kind};
use crate::names::{HostName, read_ip, write_ip};
use crate::options::Options;
use crate::table::Family;
use crate::wire::{Malformed, Reader, Writer};
use crate::{MAX_MESSAGE, VERSION};

/// One message of a program. See the crate's documentation for the descriptors and replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Asks for the state table.
    Hello,
    /// Opens a connection.
    Connect(Connect),
    /// Binds a socket to the LAN only.
    Bind(Bind),
    /// Starts to listen.
    Listen(Listen),
    /// Makes a UDP socket.
    OpenDatagram(OpenDatagram),
    /// Connects a UDP socket, or dissolves its connection.
    ConnectDatagram(ConnectDatagram),
    /// Binds a UDP socket that was opened unbound.
    BindDatagram(BindDatagram),
    /// Joins or leaves a multicast group.
    Membership(Membership),
    /// Takes the oldest loss out of the error queue.
    TakeLost {
        /// Which socket.
        id: Id,
    },
    /// Changes an option of a socket that the service holds.
    SetOption(SetOption),
    /// Asks for a socket's state.
    Query {
        /// Which socket.
        id: Id,
    },
    /// Asks how a connection is getting on.
    Measure {
        /// Which socket.
        id: Id,
    },
    /// Asks for the addresses of a name.
    Resolve {
        /// The name.
        name: HostName,
        /// IPv4 addresses.
        v4: bool,
        /// IPv6 addresses.
        v6: bool,
    },
    /// Asks for the name of an address.
    NameOf {
        /// The address.
        address: IpAddr,
    },
    /// Asks for the records of a name, as a DNS message.
    Records {
        /// The name.
        name: HostName,
        /// The type of records.
        kind: u16,
    },
}

/// The most bytes of a plug: several times what the kernel lets wait in a pair.
pub const MAX_PLUG: u32 = 1 << 20;

/// Bytes of a [`Connect`] message.
pub const CONNECT_LEN: usize = 2 + Id::LEN + 2 * ADDRESS_LEN + 2 + 4 + Options::LEN;

/// Opens a connection whose program's half is plugged already. To one of the service's own addresses the program's half
/// is attached as second descriptor: two programs of one service are then given the two ends of one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The new socket; its name is bound to the attached half.
    pub id: Id,
    /// Where to.
    pub remote: SocketAddr,
    /// From where: port 0 = any; an unspecified address = the LAN address that fits.
    pub local: Option<SocketAddr>,
    /// The family of the program's socket.
    pub family: Family,
    /// Answer on the control connection when the attempt has ended.
    pub wait: bool,
    /// Bytes of the plug that the service takes out when the connection is up, at most [`MAX_PLUG`].
    pub plug: u32,
    /// The options set so far.
    pub options: Options,
}

/// Binds a socket to the LAN only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The new socket; its name (kind listener) is bound to the attached half.
    pub id: Id,
    /// Port 0 = any free port.
    pub local: SocketAddr,
    /// The family of the program's socket.
    pub family: Family,
    /// The options set so far.
    pub options: Options,
}

/// Starts to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A socket bound before by [`Bind`] (no descriptor attached), or a new one (its half attached).
    pub id: Id,
    /// For a new socket: where. Ignored for a bound one.
    pub local: SocketAddr,
    /// The family of the program's socket: with [`Family::V6`] and an unspecified address the LAN's IPv4 is served too,
    /// unless [`Options::v6_only`].
    pub family: Family,
    /// As given to `listen`, clamped to 1..=65535.
    pub backlog: u16,
    /// The program's own listening kernel socket is attached as second descriptor: accept on it too.
    pub kernel_listener: bool,
    /// The options set so far; ignored for a bound socket.
    pub options: Options,
}

/// Makes a UDP or an ICMP echo socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenDatagram {
    /// The new socket; its name is bound to the attached half.
    pub id: Id,
    /// What it is: one that [is framed](Kind::is_framed).
    pub kind: Kind,
    /// Where: port 0 = any free one; an unspecified address = every one of the family's.
    pub local: SocketAddr,
    /// Connect it at once.
    pub remote: Option<SocketAddr>,
    /// The family of the program's socket: with [`Family::V6`] and an unspecified address IPv4 is served too, unless
    /// [`Options::v6_only`].
    pub family: Family,
    /// The program's own socket is attached as second descriptor: it serves the container's own network.
    pub kernel_socket: bool,
    /// The program has not bound it, and may still do so by [`BindDatagram`]: it only has joined a group.
    pub unbound: bool,
    /// The attached socket is for loopback only: everything else is for the LAN.
    pub isolated: bool,
    /// The options set so far.
    pub options: Options,
}

/// Binds a UDP socket that was opened unbound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindDatagram {
    /// Which socket.
    pub id: Id,
    /// Where, as in [`OpenDatagram`].
    pub local: SocketAddr,
}

/// Joins or leaves a multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which socket.
    pub id: Id,
    /// The group.
    pub group: IpAddr,
    /// Join it, or leave it.
    pub join: bool,
    /// The index of the interface: 0 = not named, [`crate::LAN_INTERFACE`] = the LAN only.
    pub interface: u32,
    /// The interface, named by an address of the container's own network.
    pub address: Option<Ipv4Addr>,
}

/// Connects a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectDatagram {
    /// Which socket.
    pub id: Id,
    /// The peer; none dissolves the connection.
    pub remote: Option<SocketAddr>,
}

/// Changes one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetOption {
    /// Which socket.
    pub id: Id,
    /// `SOL_…`.
    pub level: i32,
    /// `SO_…`, `TCP_…`.
    pub name: i32,
    /// The bytes given to `setsockopt`.
    pub value: OptionValue,
}

/// The value of an option: at most 20 bytes, as a request to join an IPv6 group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionValue {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl OptionValue {
    /// The longest value that is kept.
    pub const MAX: usize = 20;

    /// Keeps the first [`Self::MAX`] bytes, as the kernel ignores what it does not need.
    pub fn new(value: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        let kept = value.len().min(Self::MAX);
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = *from;
        }
        Self {
            bytes,
            len: kept as u8,
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Request {
    /// Reads one request.
    ///
    /// # Errors
    /// The bytes are not exactly one request of this version.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(message);
        if input.u8()? != VERSION {
            return Err(Malformed::because("unknown version"));
        }
        let request = match input.u8()? {
            HELLO => Self::Hello,
            CONNECT => Self::Connect(Connect {
                id: id(&mut input)?,
                remote: address(&mut input)?,
                local: decode_address(&input.array()?)?,
                family: Family::from_wire(input.u8()?)?,
                wait: input.bool()?,
                plug: plug(&mut input)?,
                options: Options::decode(&input.array()?)?,
            }),
            BIND => Self::Bind(Bind {
                id: id(&mut input)?,
                local: address(&mut input)?,
                family: Family::from_wire(input.u8()?)?,
                options: Options::decode(&input.array()?)?,
            }),
            LISTEN => Self::Listen(Listen {
                id: id(&mut input)?,
                local: address(&mut input)?,
                family: Family::from_wire(input.u8()?)?,
                backlog: match input.u16()? {
                    0 => return Err(Malformed::because("backlog of zero")),
                    backlog => backlog,
                },
                kernel_listener: input.bool()?,
                options: Options::decode(&input.array()?)?,
            }),
            OPEN_DATAGRAM => Self::OpenDatagram(OpenDatagram {
                id: id(&mut input)?,
                kind: framed_kind(&mut input)?,
                local: address(&mut input)?,
                remote: decode_address(&input.array()?)?,
                family: Family::from_wire(input.u8()?)?,
                kernel_socket: input.bool()?,
                unbound: input.bool()?,
                isolated: input.bool()?,
                options: Options::decode(&input.array()?)?,
            }),
            BIND_DATAGRAM => Self::BindDatagram(BindDatagram {
                id: id(&mut input)?,
                local: address(&mut input)?,
            }),
            MEMBERSHIP => Self::Membership(Membership {
                id: id(&mut input)?,
                group: address(&mut input)?.ip(),
                join: input.bool()?,
                interface: input.u32()?,
                address: match decode_address(&input.array()?)?.map(|address| address.ip()) {
                    None => None,
                    Some(IpAddr::V4(address)) => Some(address),
                    Some(IpAddr::V6(_)) => {
                        return Err(Malformed::because("interface named by an IPv6 address"));
                    }
                },
            }),
            TAKE_LOST => Self::TakeLost {
                id: id(&mut input)?,
            },
            CONNECT_DATAGRAM => Self::ConnectDatagram(ConnectDatagram {
                id: id(&mut input)?,
                remote: decode_address(&input.array()?)?,
            }),
            SET_OPTION => {
                let (id, level, name) = (id(&mut input)?, input.i32()?, input.i32()?);
                let len = input.u8()?;
                if usize::from(len) > OptionValue::MAX {
                    return Err(Malformed::because("option value too long"));
                }
                let value = OptionValue::new(input.slice(usize::from(len))?);
                Self::SetOption(SetOption {
                    id,
                    level,
                    name,
                    value,
                })
            }
            QUERY => Self::Query {
                id: id(&mut input)?,
            },
            MEASURE => Self::Measure {
                id: id(&mut input)?,
            },
            RESOLVE => Self::Resolve {
                name: HostName::read(&mut input)?,
                v4: input.bool()?,
                v6: input.bool()?,
            },
            NAME_OF => Self::NameOf {
                address: read_ip(&mut input)?,
            },
            RECORDS => Self::Records {
                name: HostName::read(&mut input)?,
                kind: input.u16()?,
            },
            _ => return Err(Malformed::because("unknown request")),
        };
        input.end()?;
        Ok(request)
    }

    /// Writes the request and returns its length.
    pub fn emit(&self, out: &mut [u8; MAX_MESSAGE]) -> usize {
        let mut out = Writer::new(out);
        out.u8(VERSION);
        match self {
            Self::Hello => out.u8(HELLO),
            Self::Connect(connect) => {
                out.u8(CONNECT);
                out.bytes(&connect.id.to_bytes());
                out.bytes(&encode_address(Some(connect.remote)));
                out.bytes(&encode_address(connect.local));
                out.u8(connect.family.to_wire());
                out.bool(connect.wait);
                out.u32(connect.plug);
                out.bytes(&connect.options.encode());
            }
            Self::Bind(bind) => {
                out.u8(BIND);
                out.bytes(&bind.id.to_bytes());
                out.bytes(&encode_address(Some(bind.local)));
                out.u8(bind.family.to_wire());
                out.bytes(&bind.options.encode());
            }
            Self::Listen(listen) => {
                out.u8(LISTEN);
                out.bytes(&listen.id.to_bytes());
                out.bytes(&encode_address(Some(listen.local)));
                out.u8(listen.family.to_wire());
                out.u16(listen.backlog.max(1));
                out.bool(listen.kernel_listener);
                out.bytes(&listen.options.encode());
            }
            Self::OpenDatagram(open) => {
                out.u8(OPEN_DATAGRAM);
                out.bytes(&open.id.to_bytes());
                out.u8(open.kind.to_wire());
                out.bytes(&encode_address(Some(open.local)));
                out.bytes(&encode_address(open.remote));
                out.u8(open.family.to_wire());
                out.bool(open.kernel_socket);
                out.bool(open.unbound);
                out.bool(open.isolated);
                out.bytes(&open.options.encode());
            }
            Self::BindDatagram(bind) => {
                out.u8(BIND_DATAGRAM);
                out.bytes(&bind.id.to_bytes());
                out.bytes(&encode_address(Some(bind.local)));
            }
            Self::Membership(membership) => {
                let bare = |ip| SocketAddr::new(ip, 0);
                out.u8(MEMBERSHIP);
                out.bytes(&membership.id.to_bytes());
                out.bytes(&encode_address(Some(bare(membership.group))));
                out.bool(membership.join);
                out.u32(membership.interface);
                out.bytes(&encode_address(
                    membership.address.map(|address| bare(address.into())),
                ));
            }
            Self::TakeLost { id } => {
                out.u8(TAKE_LOST);
                out.bytes(&id.to_bytes());
            }
            Self::ConnectDatagram(connect) => {
                out.u8(CONNECT_DATAGRAM);
                out.bytes(&connect.id.to_bytes());
                out.bytes(&encode_address(connect.remote));
            }
            Self::SetOption(option) => {
                out.u8(SET_OPTION);
                out.bytes(&option.id.to_bytes());
                out.i32(option.level);
                out.i32(option.name);
                let value = option.value.as_bytes();
                out.u8(value.len() as u8);
                out.bytes(value);
            }
            Self::Query { id } => {
                out.u8(QUERY);
                out.bytes(&id.to_bytes());
            }
            Self::Measure { id } => {
                out.u8(MEASURE);
                out.bytes(&id.to_bytes());
            }
            Self::Resolve { name, v4, v6 } => {
                out.u8(RESOLVE);
                name.write(&mut out);
                out.bool(*v4);
                out.bool(*v6);
            }
            Self::NameOf { address } => {
                out.u8(NAME_OF);
                write_ip(&mut out, *address);
            }
            Self::Records { name, kind } => {
                out.u8(RECORDS);
                name.write(&mut out);
                out.u16(*kind);
            }
        }
        out.len()
    }
}

const HELLO: u8 = 1;
const CONNECT: u8 = 2;
const BIND: u8 = 3;
const LISTEN: u8 = 4;
const SET_OPTION: u8 = 5;
const QUERY: u8 = 6;
const OPEN_DATAGRAM: u8 = 7;
const CONNECT_DATAGRAM: u8 = 8;
const BIND_DATAGRAM: u8 = 9;
const MEMBERSHIP: u8 = 10;
const TAKE_LOST: u8 = 11;
const MEASURE: u8 = 12;
// Far from the others, which are numbered in turn.
const RESOLVE: u8 = 32;
const NAME_OF: u8 = 33;
const RECORDS: u8 = 34;

fn framed_kind(input: &mut Reader<'_>) -> Result<Kind, Malformed> {
    Kind::from_wire(input.u8()?)
        .filter(|kind| kind.is_framed())
        .ok_or(Malformed::because("not a kind of datagram socket"))
}

fn plug(input: &mut Reader<'_>) -> Result<u32, Malformed> {
    let plug = input.u32()?;
    if plug > MAX_PLUG {
        return Err(Malformed::because("plug too long"));
    }
    Ok(plug)
}

fn id(input: &mut Reader<'_>) -> Result<Id, Malformed> {
    let id = Id::from_bytes(input.array()?);
    // The state table uses a zero tag for "no entry".
    if id.tag() == 0 {
        Err(Malformed::because("tag of zero"))
    } else {
        Ok(id)
    }
}

fn address(input: &mut Reader<'_>) -> Result<SocketAddr, Malformed> {
    decode_address(&input.array()?)?.ok_or(Malformed::because("request without an address"))
}
