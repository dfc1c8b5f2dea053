//! Properties of every message: round trip, refusal of every cut, and no panic on any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use proptest::prelude::*;
use zt_socket_rpc::{
    Accepted, Addresses, Bind, BindDatagram, Connect, ConnectDatagram, DatagramHeader, DnsMessage,
    Entry, Family, HostName, Id, Kind, Listen, Lost, MAX_MESSAGE, MAX_PLUG, Membership,
    OpenDatagram, OptionValue, Options, Origin, Progress, Reply, Request, SetOption, State, lost,
};

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16, u32)>().prop_map(|(ip, port, scope)| SocketAddr::V6(
            SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope)
        )),
    ]
}

fn id() -> impl Strategy<Value = Id> {
    any::<[u8; 16]>()
        .prop_map(Id::from_bytes)
        .prop_filter("a zero tag is reserved", |id| id.tag() != 0)
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn options() -> impl Strategy<Value = Options> {
    any::<(bool, bool, Option<u16>, u16, u32, u8)>().prop_map(
        |(no_delay, v6_only, linger, keep_idle, timeout, tos)| Options {
            no_delay,
            v6_only,
            lingers: linger.is_some(),
            linger_seconds: linger.unwrap_or(3),
            keep_idle,
            user_timeout: timeout,
            tos,
            ..Options::default()
        },
    )
}

fn framed_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Datagram), Just(Kind::Echo), Just(Kind::RawEcho)]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Hello),
        (
            id(),
            address(),
            proptest::option::of(address()),
            family(),
            any::<bool>(),
            0..=MAX_PLUG,
            options()
        )
            .prop_map(
                |(id, remote, local, family, wait, plug, options)| Request::Connect(Connect {
                    id,
                    remote,
                    local,
                    family,
                    wait,
                    plug,
                    options
                })
            ),
        (id(), address(), family(), options()).prop_map(|(id, local, family, options)| {
            Request::Bind(Bind {
                id,
                local,
                family,
                options,
            })
        }),
        (id(), address(), family(), 1_u16.., any::<bool>(), options()).prop_map(
            |(id, local, family, backlog, kernel_listener, options)| Request::Listen(Listen {
                id,
                local,
                family,
                backlog,
                kernel_listener,
                options
            })
        ),
        (
            id(),
            any::<i32>(),
            any::<i32>(),
            proptest::collection::vec(any::<u8>(), 0..=16)
        )
            .prop_map(|(id, level, name, value)| Request::SetOption(SetOption {
                id,
                level,
                name,
                value: OptionValue::new(&value)
            })),
        (
            (id(), framed_kind()),
            address(),
            proptest::option::of(address()),
            family(),
            any::<(bool, bool, bool)>(),
            options()
        )
            .prop_map(|((id, kind), local, remote, family, flags, options)| {
                let (kernel_socket, unbound, isolated) = flags;
                Request::OpenDatagram(OpenDatagram {
                    id,
                    kind,
                    local,
                    remote,
                    family,
                    kernel_socket,
                    unbound,
                    isolated,
                    options,
                })
            }),
        (id(), address()).prop_map(|(id, local)| Request::BindDatagram(BindDatagram { id, local })),
        (
            id(),
            address(),
            any::<(bool, u32)>(),
            any::<Option<[u8; 4]>>()
        )
            .prop_map(|(id, group, (join, interface), address)| {
                Request::Membership(Membership {
                    id,
                    group: group.ip(),
                    join,
                    interface,
                    address: address.map(Ipv4Addr::from),
                })
            }),
        id().prop_map(|id| Request::TakeLost { id }),
        (id(), proptest::option::of(address()))
            .prop_map(|(id, remote)| { Request::ConnectDatagram(ConnectDatagram { id, remote }) }),
        id().prop_map(|id| Request::Query { id }),
        id().prop_map(|id| Request::Measure { id }),
        (name(), any::<bool>(), any::<bool>()).prop_map(|(name, v4, v6)| Request::Resolve {
            name,
            v4,
            v6
        }),
        any::<IpAddr>().prop_map(|address| Request::NameOf { address }),
        (name(), any::<u16>()).prop_map(|(name, kind)| Request::Records { name, kind }),
    ]
}

fn name() -> impl Strategy<Value = HostName> {
    "[a-zA-Z0-9_.-]{1,253}".prop_map(|text| HostName::new(text.as_bytes()).expect("a name"))
}

fn entry() -> impl Strategy<Value = Entry> {
    let state = prop_oneof![
        Just(State::Bound),
        Just(State::Listening),
        Just(State::Connecting),
        Just(State::Connected),
        Just(State::Failed),
        Just(State::Reset),
    ];
    let kind = prop_oneof![
        Just(Kind::Stream),
        Just(Kind::Listener),
        Just(Kind::Datagram)
    ];
    let ends = (
        proptest::option::of(address()),
        proptest::option::of(address()),
    );
    (kind, state, family(), any::<i32>(), ends, options()).prop_map(
        |(kind, state, family, errno, (local, remote), options)| Entry {
            kind,
            state,
            family,
            errno,
            local,
            remote,
            options,
        },
    )
}

fn lost() -> impl Strategy<Value = Lost> {
    let origin = prop_oneof![
        Just(lost::Origin::Local),
        Just(lost::Origin::Icmp),
        Just(lost::Origin::Icmp6)
    ];
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    (
        origin,
        any::<(u16, u8, u8)>(),
        address(),
        address(),
        payload,
    )
        .prop_map(|(origin, (errno, kind, code), to, offender, payload)| {
            let mut lost = Lost::new(errno, origin, kind, code, to).with_payload(&payload);
            lost.offender = Some(offender.ip());
            lost
        })
}

fn progress() -> impl Strategy<Value = Progress> {
    any::<(u8, [u32; 8], u64, u64)>().prop_map(|(state, numbers, written, received)| {
        let [segment, unacknowledged, round_trip, repeated, packets @ ..] = numbers;
        let [
            segments_out,
            segments_in,
            data_segments_out,
            data_segments_in,
        ] = packets;
        Progress {
            state,
            segment,
            unacknowledged,
            round_trip,
            written,
            received,
            segments_out,
            segments_in,
            data_segments_out,
            data_segments_in,
            repeated,
        }
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any::<u64>().prop_map(|instance| Reply::Hello { instance }),
        address().prop_map(|local| Reply::Done { local }),
        (1..=4095).prop_map(|errno| Reply::Failed { errno }),
        entry().prop_map(Reply::State),
        proptest::collection::vec(any::<IpAddr>(), 0..20)
            .prop_map(|all| Reply::Addresses(Addresses::new(all))),
        name().prop_map(Reply::NameOf),
        proptest::collection::vec(any::<u8>(), 0..=DnsMessage::MAX)
            .prop_map(|bytes| Reply::Message(DnsMessage::new(&bytes).expect("short enough"))),
        lost().prop_map(Reply::Lost),
        progress().prop_map(Reply::Progress),
    ]
}

proptest! {
    #[test]
    fn requests_survive_the_round_trip(request in request()) {
        let mut bytes = [0; MAX_MESSAGE];
        let len = request.emit(&mut bytes);
        prop_assert_eq!(Request::parse(&bytes[..len]), Ok(request));
        for cut in 0..len {
            prop_assert!(Request::parse(&bytes[..cut]).is_err());
        }
        prop_assert!(Request::parse(&bytes[..len + 1]).is_err());
    }

    #[test]
    fn replies_survive_the_round_trip(reply in reply()) {
        let mut bytes = [0; MAX_MESSAGE];
        let len = reply.emit(&mut bytes);
        prop_assert_eq!(Reply::parse(&bytes[..len]), Ok(reply));
        for cut in 0..len {
            prop_assert!(Reply::parse(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn accept_records_survive_the_round_trip(
        peer in address(), local in address(), family in family(), kernel: bool,
    ) {
        let origin = if kernel { Origin::Kernel } else { Origin::Lan };
        let record = Accepted { origin, family, peer, local };
        prop_assert_eq!(Accepted::parse(&record.emit()), Ok(record));
    }

    #[test]
    fn no_bytes_make_a_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), op in 0_u8..40) {
        let _ = Request::parse(&bytes);
        let _ = Reply::parse(&bytes);
        let _ = Accepted::parse(&bytes);
        let _ = DatagramHeader::parse(&bytes);
        if let [version, code, ..] = &mut bytes[..] {
            *version = zt_socket_rpc::VERSION;
            *code = op;
            let _ = Request::parse(&bytes);
            bytes[1] |= 0x80;
            let _ = Reply::parse(&bytes);
        }
    }
}
