use super::*;

fn set(options: &mut Options, level: i32, name: i32, value: i32) -> Result<(), OptionError> {
    options.set(level, name, &value.to_le_bytes())
}

fn get(options: &Options, level: i32, name: i32) -> i32 {
    let mut value = [0; 16];
    options.get(level, name, &mut value).unwrap();
    int(&value).unwrap()
}

#[test]
fn what_is_set_is_read_back_and_survives_encoding() {
    let cases = [
        (SOL_SOCKET, SO_KEEPALIVE, 1),
        (SOL_SOCKET, SO_REUSEADDR, 1),
        (SOL_SOCKET, SO_REUSEPORT, 1),
        (SOL_SOCKET, SO_BROADCAST, 1),
        (SOL_SOCKET, SO_OOBINLINE, 1),
        (SOL_SOCKET, SO_DONTROUTE, 1),
        (SOL_SOCKET, SO_PRIORITY, 6),
        (SOL_TCP, TCP_NODELAY, 1),
        (SOL_TCP, TCP_CORK, 1),
        (SOL_TCP, TCP_QUICKACK, 0),
        (SOL_TCP, TCP_KEEPIDLE, 30),
        (SOL_TCP, TCP_KEEPINTVL, 10),
        (SOL_TCP, TCP_KEEPCNT, 3),
        (SOL_TCP, TCP_SYNCNT, 2),
        (SOL_TCP, TCP_USER_TIMEOUT, 90_000),
        (SOL_TCP, TCP_MAXSEG, 1400),
        (SOL_TCP, TCP_WINDOW_CLAMP, 65_536),
        (SOL_TCP, TCP_NOTSENT_LOWAT, 16_384),
        (SOL_TCP, TCP_DEFER_ACCEPT, 5),
        (SOL_TCP, TCP_FASTOPEN, 128),
        (SOL_TCP, TCP_FASTOPEN_CONNECT, 1),
        (SOL_TCP, TCP_LINGER2, 20),
        (SOL_IP, IP_TOS, 0x10),
        (SOL_IP, IP_TTL, 33),
        (SOL_IP, IP_MTU_DISCOVER, 2),
        (SOL_IP, IP_RECVERR, 1),
        (SOL_IP, IP_FREEBIND, 1),
        (SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1),
        (SOL_IPV6, IPV6_V6ONLY, 1),
        (SOL_IPV6, IPV6_UNICAST_HOPS, 12),
        (SOL_IPV6, IPV6_TCLASS, 0x20),
        (SOL_IP, IP_MULTICAST_LOOP, 0),
        (SOL_IP, IP_MULTICAST_ALL, 0),
        (SOL_IP, IP_MULTICAST_TTL, 7),
        (SOL_IPV6, IPV6_MULTICAST_HOPS, 9),
        (SOL_IPV6, IPV6_MULTICAST_IF, 3),
        (SOL_UDP, UDP_SEGMENT, 1400),
        (SOL_UDP, UDP_GRO, 1),
    ];
    let mut options = Options::default();
    for (level, name, value) in cases {
        assert_eq!(
            set(&mut options, level, name, value),
            Ok(()),
            "{level}/{name}"
        );
    }
    let mut linger = [0; 8];
    linger[0] = 1;
    linger[4] = 7;
    assert_eq!(options.set(SOL_SOCKET, SO_LINGER, &linger), Ok(()));
    let restored = Options::decode(&options.encode()).unwrap();
    assert_eq!(restored, options);
    for (level, name, value) in cases {
        assert_eq!(get(&restored, level, name), value, "{level}/{name}");
    }
    assert_eq!(restored.linger(), Some(7));
}

#[test]
fn values_that_linux_refuses_are_refused() {
    let mut options = Options::default();
    let refused = Err(OptionError::Errno(EINVAL));
    assert_eq!(set(&mut options, SOL_TCP, TCP_KEEPIDLE, 0), refused);
    assert_eq!(set(&mut options, SOL_TCP, TCP_KEEPCNT, 128), refused);
    assert_eq!(set(&mut options, SOL_TCP, TCP_USER_TIMEOUT, -1), refused);
    assert_eq!(set(&mut options, SOL_IP, IP_TTL, 256), refused);
    assert_eq!(set(&mut options, SOL_IP, IP_MULTICAST_TTL, 256), refused);
    assert_eq!(set(&mut options, SOL_IPV6, IPV6_MULTICAST_LOOP, 2), refused);
    assert_eq!(options.set(SOL_IP, IP_MULTICAST_IF, &[1, 2, 3]), refused);
    assert_eq!(options.set(SOL_TCP, TCP_NODELAY, &[1, 0]), refused);
    assert_eq!(options.set(SOL_SOCKET, SO_LINGER, &[1, 0, 0, 0]), refused);
    assert_eq!(
        options.set(SOL_TCP, TCP_CONGESTION, b"bbr"),
        Err(OptionError::Errno(ENOENT))
    );
    assert_eq!(options, Options::default());
}

#[test]
fn options_of_the_pair_itself_are_not_ours() {
    let mut options = Options::default();
    assert_eq!(
        set(&mut options, SOL_SOCKET, SO_SNDBUF, 1),
        Err(OptionError::NotOurs)
    );
    assert_eq!(
        options.get(SOL_SOCKET, SO_RCVBUF, &mut [0; 16]),
        Err(OptionError::NotOurs)
    );
}

#[test]
fn closing_with_a_zero_linger_is_told_apart_from_no_linger() {
    let mut options = Options::default();
    options
        .set(SOL_SOCKET, SO_LINGER, &[1, 0, 0, 0, 0, 0, 0, 0])
        .unwrap();
    assert_eq!(options.linger(), Some(0));
    options.set(SOL_SOCKET, SO_LINGER, &[0; 8]).unwrap();
    assert_eq!(options.linger(), None);
}

#[test]
fn the_interface_of_groups_is_told_by_index_or_by_address() {
    let interface = |value: &[u8]| {
        let mut options = Options::default();
        options.set(SOL_IP, IP_MULTICAST_IF, value).unwrap();
        options.multicast_interface
    };
    let request = |index: i32| [[0; 4], [10, 0, 0, 1], index.to_le_bytes()].concat();
    assert_eq!(interface(&[0; 4]), 0);
    assert_eq!(interface(&[10, 0, 0, 1]), Options::OTHER_INTERFACE);
    assert_eq!(interface(&request(0)[..8]), Options::OTHER_INTERFACE);
    assert_eq!(interface(&request(0)), Options::OTHER_INTERFACE);
    assert_eq!(interface(&request(3)), 3);
    let lan = crate::LAN_INTERFACE;
    assert_eq!(u32::from(interface(&request(lan as i32))), lan);
}
