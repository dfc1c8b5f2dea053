//! Epoll registrations of descriptors that may still be swapped.
//!
//! A swap (`dup3` over the descriptor) drops the kernel's registration, so it must be put back. Every `epoll_ctl` of the
//! program leaves its last values here, in a table by descriptor number: no lock, no allocation, no clean-up, for
//! a stale record does no harm (the kernel is asked before anything is restored). A descriptor in more than one epoll
//! instance, or one beyond the table, is looked up in `/proc/self/fdinfo` of the instances instead.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::kernel::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent, Fd};

/// Descriptors with a record of their own.
const RECORDS: usize = 16_384;
/// Epoll instances that are searched for descriptors without a sufficient record.
pub(crate) const INSTANCES: usize = 16;
const NONE: Fd = -1;

/// The last registration of a descriptor.
struct Record {
    /// The epoll instance plus one; 0 = none, so that the whole table is zero pages until it is used.
    instance: AtomicI32,
    /// More than one instance has it: the record is not enough.
    crowded: AtomicBool,
    events: AtomicU32,
    data: AtomicU64,
}

/// What a process has registered.
pub struct Registrations {
    records: [Record; RECORDS],
    /// Instances (plus one) to search, the oldest overwritten when there are more.
    instances: [AtomicI32; INSTANCES],
    next: AtomicU32,
}

/// Where a descriptor may be registered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nowhere,
    Once(Fd, EpollEvent),
    /// Search these instances.
    Search([Fd; INSTANCES]),
}

impl Registrations {
    /// Nothing registered; all zero in memory.
    pub const fn new() -> Self {
        Self {
            records: [const {
                Record {
                    instance: AtomicI32::new(0),
                    crowded: AtomicBool::new(false),
                    events: AtomicU32::new(0),
                    data: AtomicU64::new(0),
                }
            }; RECORDS],
            instances: [const { AtomicI32::new(0) }; INSTANCES],
            next: AtomicU32::new(0),
        }
    }

    /// Remembers a successful `epoll_ctl`.
    pub fn remember(&self, epoll: Fd, operation: i32, fd: Fd, event: EpollEvent) {
        let Some(record) = self.record(fd) else {
            if operation == EPOLL_CTL_ADD {
                self.search_later(epoll);
            }
            return;
        };
        let present = record.instance.load(Ordering::Relaxed) - 1;
        match operation {
            EPOLL_CTL_ADD | EPOLL_CTL_MOD => {
                if operation == EPOLL_CTL_ADD && present != NONE && present != epoll {
                    // The old record may be stale, or a second registration: the kernel knows.
                    record.crowded.store(true, Ordering::Relaxed);
                    self.search_later(present);
                    self.search_later(epoll);
                }
                record.events.store(event.events, Ordering::Relaxed);
                record.data.store(event.data, Ordering::Relaxed);
                record.instance.store(epoll + 1, Ordering::Release);
            }
            EPOLL_CTL_DEL if present == epoll && !record.crowded.load(Ordering::Relaxed) => {
                self.forget(fd)
            }
            _ => {}
        }
    }

    /// The descriptor is a new socket, or one that will not be swapped again.
    pub fn forget(&self, fd: Fd) {
        if let Some(record) = self.record(fd)
            && record.instance.load(Ordering::Relaxed) != 0
        {
            record.instance.store(0, Ordering::Relaxed);
            record.crowded.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn known(&self, fd: Fd) -> Known {
        match self.record(fd) {
            Some(record) => match record.instance.load(Ordering::Acquire) - 1 {
                NONE => Known::Nowhere,
                _ if record.crowded.load(Ordering::Relaxed) => self.search(),
                epoll => Known::Once(
                    epoll,
                    EpollEvent {
                        events: record.events.load(Ordering::Relaxed),
                        data: record.data.load(Ordering::Relaxed),
                    },
                ),
            },
            None => self.search(),
        }
    }

    fn search(&self) -> Known {
        let mut instances = [NONE; INSTANCES];
        for (instance, stored) in instances.iter_mut().zip(&self.instances) {
            *instance = stored.load(Ordering::Relaxed) - 1;
        }
        Known::Search(instances)
    }

    fn search_later(&self, epoll: Fd) {
        if self
            .instances
            .iter()
            .any(|stored| stored.load(Ordering::Relaxed) == epoll + 1)
        {
            return;
        }
        let slot = self.next.fetch_add(1, Ordering::Relaxed) as usize % INSTANCES;
        if let Some(stored) = self.instances.get(slot) {
            stored.store(epoll + 1, Ordering::Relaxed);
        }
    }

    fn record(&self, fd: Fd) -> Option<&Record> {
        usize::try_from(fd)
            .ok()
            .and_then(|index| self.records.get(index))
    }
}

impl Default for Registrations {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads one line of an epoll instance's `fdinfo` (`tfd: 5 events: 19 data: 5 pos:0 …`, numbers after `events` and
/// `data` in hexadecimal).
pub fn parse_registration(line: &[u8]) -> Option<(Fd, EpollEvent)> {
    let mut words = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let mut field = |name: &[u8], radix: u64| {
        let word = words.next()?;
        if word != name {
            return None;
        }
        number(words.next()?, radix)
    };
    let fd = field(b"tfd:", 10)?;
    let events = field(b"events:", 16)?;
    let data = field(b"data:", 16)?;
    Some((
        Fd::try_from(fd).ok()?,
        EpollEvent {
            events: u32::try_from(events).ok()?,
            data,
        },
    ))
}

fn number(digits: &[u8], radix: u64) -> Option<u64> {
    let mut value: u64 = 0;
    for &digit in digits {
        let digit = char::from(digit).to_digit(radix as u32)?;
        value = value.checked_mul(radix)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: EpollEvent = EpollEvent {
        events: 5,
        data: 0xffff_0000_1234_5678,
    };

    fn registrations() -> Box<Registrations> {
        Box::default()
    }

    #[test]
    fn the_last_values_of_a_registration_are_known() {
        let registrations = registrations();
        assert_eq!(registrations.known(7), Known::Nowhere);
        registrations.remember(3, EPOLL_CTL_ADD, 7, EpollEvent { events: 1, data: 2 });
        registrations.remember(3, EPOLL_CTL_MOD, 7, EVENT);
        assert_eq!(registrations.known(7), Known::Once(3, EVENT));
        registrations.remember(3, EPOLL_CTL_DEL, 7, EVENT);
        assert_eq!(registrations.known(7), Known::Nowhere);
    }

    #[test]
    fn a_descriptor_in_two_instances_is_searched_for_in_both() {
        let registrations = registrations();
        registrations.remember(3, EPOLL_CTL_ADD, 7, EVENT);
        registrations.remember(4, EPOLL_CTL_ADD, 7, EVENT);
        let Known::Search(instances) = registrations.known(7) else {
            panic!("not searched")
        };
        assert!(instances.contains(&3) && instances.contains(&4));
        registrations.forget(7);
        assert_eq!(registrations.known(7), Known::Nowhere);
    }

    #[test]
    fn a_descriptor_beyond_the_table_is_searched_for() {
        let registrations = registrations();
        registrations.remember(5, EPOLL_CTL_ADD, 100_000, EVENT);
        let Known::Search(instances) = registrations.known(100_000) else {
            panic!("not searched")
        };
        assert!(instances.contains(&5));
        assert!(matches!(registrations.known(-1), Known::Search(_)));
    }

    #[test]
    fn lines_of_fdinfo_are_read_and_others_skipped() {
        let line = b"tfd:        5 events:       19 data: ffff000012345678  pos:0 ino:e sdev:a";
        assert_eq!(
            parse_registration(line),
            Some((
                5,
                EpollEvent {
                    events: 0x19,
                    data: 0xffff_0000_1234_5678
                }
            ))
        );
        for other in [
            &b"pos:\t0"[..],
            b"flags:\t02",
            b"tfd: x events: 1 data: 1",
            b"tfd: 5 events: 19",
            b"",
        ] {
            assert_eq!(parse_registration(other), None);
        }
    }
}
