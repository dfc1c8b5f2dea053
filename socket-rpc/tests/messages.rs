//! Properties of every message: round trip, refusal of every cut, and no panic on any bytes.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use proptest::prelude::*;
use zt_socket_rpc::{
    Accepted, Bind, Connect, ConnectDatagram, DatagramHeader, Entry, Family, Id, Kind, Listen,
    MAX_MESSAGE, MAX_PLUG, OpenDatagram, OptionValue, Options, Origin, Reply, Request, SetOption,
    State,
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
            id(),
            address(),
            proptest::option::of(address()),
            family(),
            any::<bool>(),
            options()
        )
            .prop_map(|(id, local, remote, family, kernel_socket, options)| {
                Request::OpenDatagram(OpenDatagram {
                    id,
                    local,
                    remote,
                    family,
                    kernel_socket,
                    options,
                })
            }),
        (id(), proptest::option::of(address()))
            .prop_map(|(id, remote)| { Request::ConnectDatagram(ConnectDatagram { id, remote }) }),
        id().prop_map(|id| Request::Query { id }),
    ]
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

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any::<u64>().prop_map(|instance| Reply::Hello { instance }),
        address().prop_map(|local| Reply::Done { local }),
        (1..=4095).prop_map(|errno| Reply::Failed { errno }),
        entry().prop_map(Reply::State),
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
    fn no_bytes_make_a_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), op in 0_u8..10) {
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
