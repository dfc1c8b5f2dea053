use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

use super::*;

fn super_segment(v6: bool, control: TcpControl, sequence: i32, payload: &[u8]) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port: 4242,
        dst_port: 80,
        control,
        seq_number: TcpSeqNumber(sequence),
        ack_number: Some(TcpSeqNumber(77)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [Some((1, 2)), None, None],
        timestamp: None,
        payload,
    };
    let (src, dst) = if v6 {
        (
            IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 1),
            IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 2),
        )
    } else {
        (IpAddress::v4(10, 0, 0, 1), IpAddress::v4(10, 0, 0, 2))
    };
    let ip = IpRepr::new(src, dst, IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    let caps = ChecksumCapabilities::ignored();
    ip.emit(&mut packet, &caps);
    tcp.emit(
        &mut TcpPacket::new_unchecked(&mut packet[ip.header_len()..]),
        &src,
        &dst,
        &caps,
    );
    packet
}

proptest! {
    #[test]
    fn packets_are_whole_and_join_to_the_super_segment(
        v6: bool,
        fin: bool,
        sequence: i32,
        payload in proptest::collection::vec(any::<u8>(), 0..5000),
        segment in 1usize..1500,
    ) {
        let control = if fin { TcpControl::Fin } else { TcpControl::Psh };
        let whole = super_segment(v6, control, sequence, &payload);
        let burst = Burst::new(&whole, segment).expect("a TCP packet");
        let mut joined = Vec::new();
        let mut total = 0;
        for i in 0..burst.count() {
            let mut out = vec![0xaa; burst.len(i)];
            burst.write(i, &mut out);
            total += out.len();
            let (src, dst, tcp) = if v6 {
                let ip = Ipv6Packet::new_checked(&out[..]).expect("IPv6");
                prop_assert_eq!(usize::from(ip.payload_len()) + 40, out.len());
                (ip.src_addr().into(), ip.dst_addr().into(), &out[40..])
            } else {
                let ip = Ipv4Packet::new_checked(&out[..]).expect("IPv4");
                prop_assert!(ip.verify_checksum());
                prop_assert_eq!(usize::from(ip.total_len()), out.len());
                (ip.src_addr().into(), ip.dst_addr().into(), &out[20..])
            };
            let tcp = TcpPacket::new_checked(tcp).expect("TCP");
            prop_assert!(tcp.verify_checksum(&src, &dst));
            prop_assert_eq!(tcp.seq_number(), TcpSeqNumber(sequence) + joined.len());
            let last = i + 1 == burst.count();
            prop_assert_eq!(tcp.fin(), last && fin);
            prop_assert_eq!(tcp.psh(), last && !fin);
            prop_assert!(last || tcp.payload().len() == segment);
            joined.extend_from_slice(tcp.payload());
        }
        prop_assert_eq!(joined, payload);
        prop_assert_eq!(total, burst.total_len());
    }

    #[test]
    fn other_bytes_are_no_burst_or_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Some(burst) = Burst::new(&bytes, 7) {
            for i in 0..burst.count() {
                burst.write(i, &mut vec![0; burst.len(i)]);
            }
        }
    }
}
