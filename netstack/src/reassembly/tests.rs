use super::*;
use crate::fragment::Cut;
use crate::packet::{IpPacket, protocol, write_ip_header};
use proptest::prelude::*;

fn packet(v6: bool, len: usize) -> Vec<u8> {
    let (src, dst): (IpAddr, IpAddr) = if v6 {
        (
            [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
            [0xfd00, 0, 0, 0, 0, 0, 0, 2].into(),
        )
    } else {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    };
    let header = if v6 { 40 } else { 20 };
    let mut packet = vec![0; header + len];
    write_ip_header(&mut packet, src, dst, protocol::UDP, 64);
    for (n, byte) in packet[header..].iter_mut().enumerate() {
        *byte = (n / 8) as u8 ^ n as u8;
    }
    packet
}

fn cut(packet: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    let mut cut = Cut::new(id);
    let mut pieces = Vec::new();
    loop {
        let mut out = Vec::new();
        let last = cut.next(packet, mtu, &mut out);
        assert!(out.len() <= mtu);
        pieces.push(out);
        if last {
            return pieces;
        }
    }
}

fn table() -> Reassembly {
    Reassembly::new(SecretHash::new(1))
}

fn add_at(
    table: &mut Reassembly,
    now: Instant,
    station: u8,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, Spoiled> {
    let packet = IpPacket::parse(bytes).expect("a packet");
    let part = packet.fragment().expect("sound").expect("a fragment");
    let key = Key {
        station: [2, 0, 0, 0, 0, station],
        to_us: true,
        src: packet.src,
        dst: packet.dst,
        id: part.id,
        protocol: 0,
    };
    table.add(now, key, &part)
}

fn add(table: &mut Reassembly, bytes: &[u8]) -> Result<Option<Vec<u8>>, Spoiled> {
    add_at(table, Instant(0), 1, bytes)
}

/// Without what only a fragment's header has: identification, flags, checksum.
fn essence(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[4..8].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

proptest! {
    #[test]
    fn pieces_in_any_order_and_number_become_the_packet(
        v6: bool,
        len in 2000usize..20_000,
        mtu in 576usize..1500,
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60),
    ) {
        let packet = packet(v6, len);
        let pieces = cut(&packet, mtu, 7);
        let mut table = table();
        let mut whole = None;
        // Some of them more than once, then all.
        let order = order.iter().map(|index| index.index(pieces.len()));
        for n in order.chain(0..pieces.len()) {
            if whole.is_some() {
                break;
            }
            whole = add(&mut table, &pieces[n]).expect("no contradiction");
        }
        let whole = whole.expect("a packet");
        prop_assert!(IpPacket::parse(&whole).is_ok());
        prop_assert_eq!(essence(&whole), essence(&packet));
        prop_assert_eq!((table.used, table.packets.len(), table.order.len()), (0, 0, 0));
    }

    #[test]
    fn any_places_are_survived(
        v6: bool,
        places in proptest::collection::vec((0usize..8192, 0usize..3000, any::<bool>()), 1..60),
    ) {
        let mut table = table();
        let header = packet(v6, 0);
        let bytes = vec![1; 3000];
        let parsed = IpPacket::parse(&header).expect("a packet");
        for (offset, len, more) in places {
            let part = Part {
                header: &header,
                protocol: protocol::UDP,
                id: 1,
                offset: offset * 8,
                more,
                payload: &bytes[..len],
            };
            let key = Key {
                station: [2; 6],
                to_us: true,
                src: parsed.src,
                dst: parsed.dst,
                id: 1,
                protocol: 0,
            };
            if let Ok(Some(whole)) = table.add(Instant(0), key, &part) {
                prop_assert!(IpPacket::parse(&whole).is_ok());
            }
            let used: usize = table.packets.values().map(|p| p.bytes.len() + OVERHEAD).sum();
            prop_assert_eq!(table.used, used);
        }
    }
}

#[test]
fn a_packet_with_an_overlap_never_comes_to_be() {
    for v6 in [false, true] {
        let packet = packet(v6, 4000);
        let coarse = cut(&packet, 1400, 7);
        let fine = cut(&packet, 1000, 7);
        let mut table = table();
        assert_eq!(add(&mut table, &coarse[0]), Ok(None));
        assert_eq!(add(&mut table, &fine[1]), Err(Spoiled::Overlap));
        for piece in coarse.iter().chain(&fine) {
            assert_eq!(add(&mut table, piece), Err(Spoiled::Overlap));
        }
        assert_eq!(table.used, OVERHEAD);
        assert_eq!(table.handle_timeout(Instant(30_000_000)), 0);
        assert_eq!((table.used, table.deadline()), (0, None));
    }
}

#[test]
fn pieces_that_contradict_each_other_or_themselves_are_refused() {
    let packet = packet(false, 4000);
    let pieces = cut(&packet, 1400, 7);
    let mut uneven = pieces[0].clone();
    uneven.pop();
    let len = (uneven.len() as u16).to_be_bytes();
    uneven[2..4].copy_from_slice(&len);
    uneven[10..12].fill(0);
    let sum = Sum::default().add(&uneven[..20]).finish();
    uneven[10..12].copy_from_slice(&sum);
    assert_eq!(add(&mut table(), &uneven), Err(Spoiled::Malformed));

    // Two ends.
    let shorter = cut(&packet[..3000], 1400, 7);
    let mut table = table();
    assert_eq!(add(&mut table, &pieces[2]), Ok(None));
    assert_eq!(
        add(&mut table, shorter.last().expect("a piece")),
        Err(Spoiled::Overlap)
    );
}

#[test]
fn what_is_not_complete_in_time_is_forgotten() {
    let pieces = cut(&packet(false, 4000), 1400, 7);
    let mut table = table();
    assert_eq!(add(&mut table, &pieces[0]), Ok(None));
    assert_eq!(table.deadline(), Some(Instant(30_000_000)));
    assert_eq!(table.handle_timeout(Instant(29_999_999)), 0);
    assert_eq!(table.handle_timeout(Instant(30_000_000)), 1);
    assert_eq!((table.used, table.deadline()), (0, None));
    assert!(table.used_by.is_empty());
}

#[test]
fn one_station_cannot_take_the_memory_of_others() {
    let mut table = table();
    let other = cut(&packet(false, 4000), 1400, 1);
    assert_eq!(add_at(&mut table, Instant(0), 2, &other[0]), Ok(None));
    for id in 0..100 {
        let pieces = cut(&packet(false, 60_000), 2800, id);
        for piece in &pieces[1..] {
            assert_eq!(add(&mut table, piece), Ok(None));
        }
        assert!(table.used_by[&[2, 0, 0, 0, 0, 1]] <= PER_STATION);
    }
    assert!(table.take_evicted() > 80);
    assert_eq!(add_at(&mut table, Instant(0), 2, &other[1]), Ok(None));
    assert!(matches!(
        add_at(&mut table, Instant(0), 2, &other[2]),
        Ok(Some(_))
    ));
}

#[test]
fn many_stations_are_bounded_together() {
    let mut table = table();
    for station in 0..20 {
        for id in 0..20 {
            let pieces = cut(&packet(false, 60_000), 2800, id);
            let _ = add_at(
                &mut table,
                Instant(0),
                station,
                pieces.last().expect("a piece"),
            );
            assert!(table.used <= TOTAL);
        }
    }
}
