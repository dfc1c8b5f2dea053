//! Sockets that are as the kernel makes them, so that nobody has to ask for each option of theirs.
//!
//! A client makes a socket and connects it: two dozen options that the pair in its place must carry on then have the
//! values of every other new socket of this process. Which those are depends on the container's settings, so the first
//! one tells for all.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zt_socket_rpc::{Family, Options};

/// What a new TCP socket of each family has.
pub struct NewSockets([Learnt; 2]);

#[derive(Default)]
struct Learnt {
    words: [AtomicU64; Options::LEN / 8],
    known: AtomicBool,
}

impl NewSockets {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self(
            [const {
                Learnt {
                    words: [const { AtomicU64::new(0) }; Options::LEN / 8],
                    known: AtomicBool::new(false),
                }
            }; 2],
        )
    }

    const fn of(&self, family: Family) -> &Learnt {
        let [v4, v6] = &self.0;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// Several threads may learn at once: they learn the same.
    pub(crate) fn learn(&self, family: Family, options: &Options) {
        let learnt = self.of(family);
        let bytes = options.encode();
        let (chunks, _) = bytes.as_chunks::<8>();
        for (word, bytes) in learnt.words.iter().zip(chunks) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        learnt.known.store(true, Ordering::Release);
    }

    pub(crate) fn options(&self, family: Family) -> Option<Options> {
        let learnt = self.of(family);
        if !learnt.known.load(Ordering::Acquire) {
            return None;
        }
        let mut bytes = [0; Options::LEN];
        let (chunks, _) = bytes.as_chunks_mut::<8>();
        for (bytes, word) in chunks.iter_mut().zip(&learnt.words) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        Options::decode(&bytes).ok()
    }
}

impl Default for NewSockets {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_tells_nothing_of_the_other() {
        let sockets = NewSockets::new();
        let options = Options {
            v6_only: true,
            keep_idle: 99,
            ..Options::default()
        };
        sockets.learn(Family::V6, &options);
        assert_eq!(sockets.options(Family::V6), Some(options));
        assert_eq!(sockets.options(Family::V4), None);
    }
}
