use std::boxed::Box;
use std::vec::Vec;

use super::*;

fn memory() -> Box<[AtomicU64; TABLE_WORDS]> {
    let words: Vec<AtomicU64> = (0..TABLE_WORDS).map(|_| AtomicU64::new(0)).collect();
    words.into_boxed_slice().try_into().unwrap()
}

fn entry(port: u16) -> Entry {
    Entry {
        kind: Kind::Stream,
        state: State::Connected,
        family: Family::V4,
        errno: 0,
        local: Some(SocketAddr::from(([10, 1, 1, 1], port))),
        remote: Some("[fd00::2]:80".parse().unwrap()),
        options: Options {
            no_delay: true,
            lingers: true,
            ..Options::default()
        },
    }
}

/// The `n`th tag of one set.
fn tag(n: u64) -> u64 {
    7 + n * (ENTRIES / WAYS) as u64
}

#[test]
fn entries_are_found_by_tag_updated_and_removed() {
    let words = memory();
    let mut table = TableWriter::new(&words, 5);
    let reader = Table::open(&words).unwrap();
    assert_eq!(reader.instance(), 5);
    assert_eq!(reader.entry(tag(1)), None);
    table.insert(tag(1), &entry(1)).unwrap();
    table.insert(tag(2), &entry(2)).unwrap();
    assert_eq!(reader.entry(tag(1)), Some(entry(1)));
    let reset = Entry {
        state: State::Reset,
        errno: crate::linux::ECONNRESET,
        ..entry(1)
    };
    table.update(tag(1), &reset);
    assert_eq!(reader.entry(tag(1)), Some(reset));
    table.remove(tag(1));
    assert_eq!(reader.entry(tag(1)), None);
    assert_eq!(reader.entry(tag(2)), Some(entry(2)));
}

#[test]
fn a_taken_or_zero_tag_is_refused() {
    let words = memory();
    let mut table = TableWriter::new(&words, 1);
    table.insert(tag(1), &entry(1)).unwrap();
    assert_eq!(table.insert(tag(1), &entry(2)), Err(TagTaken));
    assert_eq!(table.insert(0, &entry(2)), Err(TagTaken));
    assert_eq!(table.reader().entry(tag(1)), Some(entry(1)));
    assert_eq!(table.reader().entry(0), None);
}

#[test]
fn a_full_set_gives_up_its_longest_retired_entry_and_never_a_living_one() {
    let words = memory();
    let mut table = TableWriter::new(&words, 1);
    for n in 1..=WAYS as u64 {
        table.insert(tag(n), &entry(n as u16)).unwrap();
    }
    table.insert(tag(100), &entry(100)).unwrap();
    assert_eq!(table.reader().entry(tag(100)), None);
    table.retire(tag(3));
    table.retire(tag(2));
    assert_eq!(table.reader().entry(tag(3)), Some(entry(3)));
    table.insert(tag(101), &entry(101)).unwrap();
    assert_eq!(table.reader().entry(tag(101)), Some(entry(101)));
    assert_eq!(table.reader().entry(tag(3)), None);
    assert_eq!(table.reader().entry(tag(2)), Some(entry(2)));
    table.insert(tag(102), &entry(102)).unwrap();
    assert_eq!(table.reader().entry(tag(2)), None);
    table.insert(tag(103), &entry(103)).unwrap();
    assert_eq!(table.reader().entry(tag(103)), None);
    assert_eq!(table.reader().entry(tag(1)), Some(entry(1)));
}

#[test]
fn the_lan_is_what_was_published_last() {
    let words = memory();
    let mut table = TableWriter::new(&words, 1);
    let reader = table.reader();
    let lan = Prefix {
        address: "10.147.21.50".parse().unwrap(),
        length: 24,
    };
    assert!(!reader.routes_to("10.147.21.1".parse().unwrap()));
    table.set_lan(&[lan], &[lan], &[]);
    assert!(reader.routes_to("10.147.21.1".parse().unwrap()));
    assert!(reader.is_own("10.147.21.50".parse().unwrap()));
    assert!(!reader.is_own("10.147.21.1".parse().unwrap()));
    table.set_lan(&[], &[], &[]);
    assert!(!reader.routes_to("10.147.21.1".parse().unwrap()));
    table.set_lan(&[lan; MAX_ADDRESSES + 1], &[lan; MAX_ROUTES + 1], &[lan; 2]);
    assert!(reader.routes_to("10.147.21.1".parse().unwrap()));
}

#[test]
fn the_longest_prefix_decides_between_the_networks() {
    let words = memory();
    let mut table = TableWriter::new(&words, 1);
    let reader = table.reader();
    let prefix = |address: &str, length| Prefix {
        address: address.parse().unwrap(),
        length,
    };
    let routes = [
        prefix("0.0.0.0", 0),
        prefix("10.147.21.0", 24),
        prefix("192.168.0.0", 16),
        prefix("172.17.5.0", 24),
    ];
    let near = [
        prefix("172.17.0.2", 16),
        prefix("192.168.7.7", 24),
        prefix("10.147.21.9", 24),
        prefix("fe80::1", 64),
    ];
    table.set_lan(&[], &routes, &near);
    for (address, is_lan) in [
        ("198.51.100.1", true),
        ("10.147.21.1", true),
        ("172.17.0.1", false),
        ("172.17.5.1", true),
        ("192.168.1.1", true),
        ("192.168.7.1", false),
        ("fe80::2", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(
            reader.routes_to(address.parse().unwrap()),
            is_lan,
            "{address}"
        );
    }
    table.set_lan(&[], &[], &near);
    assert!(!reader.routes_to("172.17.0.1".parse().unwrap()));
}

#[test]
fn readers_beside_a_writer_never_see_a_torn_entry() {
    let words = memory();
    let mut table = TableWriter::new(&words, 1);
    table.insert(tag(1), &entry(1)).unwrap();
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for port in 1..50_000 {
                let twin = SocketAddr::from(([10, 1, 1, 1], port));
                table.update(
                    tag(1),
                    &Entry {
                        local: Some(twin),
                        remote: Some(twin),
                        ..entry(1)
                    },
                );
            }
            stop.store(1, Ordering::Relaxed);
        });
        let reader = Table::open(&words).unwrap();
        while stop.load(Ordering::Relaxed) == 0 {
            if let Some(seen) = reader
                .entry(tag(1))
                .filter(|seen| seen.remote != entry(1).remote)
            {
                assert_eq!(seen.local, seen.remote);
            }
        }
    });
}

#[test]
fn memory_that_is_no_table_is_refused() {
    assert!(Table::open(&memory()).is_err());
}

#[cfg(feature = "service")]
#[test]
fn programs_cannot_write_the_shared_table() {
    let mut table = StateTable::create(core::num::NonZeroU64::MIN).unwrap();
    table.insert(tag(1), &entry(1)).unwrap();
    let map = |protection| {
        // SAFETY: a new mapping, never dereferenced.
        unsafe {
            rustix::mm::mmap(
                core::ptr::null_mut(),
                TABLE_LEN,
                protection,
                rustix::mm::MapFlags::SHARED,
                table.file(),
                0,
            )
        }
    };
    assert!(map(rustix::mm::ProtFlags::READ).is_ok());
    assert!(map(rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE).is_err());
    assert!(rustix::fs::ftruncate(table.file(), 0).is_err());
}
