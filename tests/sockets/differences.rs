//! The differences that are known, each with its reason, and the judgement over a run.
//!
//! `doc/compatibility.md` has the table too: `make compatibility` writes it, and a test compares the two.

use crate::player::{BY_LAUNCHER, BY_LIBRARY, Player};
use crate::trace::{Traces, side_by_side};
use crate::world::{Family, chosen};

/// A difference between the kernel and the LAN that stays.
struct Known {
    /// The cases that show it, in each of the families they are played with.
    cases: &'static [&'static str],
    /// Who sees it, of those that have the case.
    players: &'static [&'static [Player]],
    /// Whether every run shows it: what depends on who is first may be missing.
    always: bool,
    /// What is different on the LAN.
    what: &'static str,
    reason: &'static str,
}

const EVERYBODY: &[&[Player]] = &[BY_LIBRARY, BY_LAUNCHER];

const KNOWN: &[Known] = &[
    Known {
        cases: &["reset_events"],
        players: EVERYBODY,
        always: true,
        what: "A reset connection polls as readable, writable and hung up, without `POLLERR`.",
        reason: "A Unix socket has an error to report only when its peer was closed with bytes unread. The error itself is told by the next call.",
    },
    Known {
        cases: &["sigpipe_after_a_reset"],
        players: EVERYBODY,
        always: true,
        what: "The first write after a reset raises `SIGPIPE`, not only the second.",
        reason: "The kernel raises the signal before anybody can look; to ask beforehand would cost every write a system call.",
    },
    Known {
        cases: &["low_water_mark"],
        players: EVERYBODY,
        always: true,
        what: "`SO_RCVLOWAT` is kept but does not delay readiness.",
        reason: "`poll` of a Unix socket does not look at it.",
    },
    Known {
        cases: &["urgent_data", "urgent_data_sent"],
        players: EVERYBODY,
        always: true,
        what: "Urgent bytes (`MSG_OOB`) arrive in order among the others, as with `SO_OOBINLINE`; there is no mark and no `POLLPRI`.",
        reason: "The TCP of the LAN has no urgent pointer (RFC 6093 advises against its use).",
    },
    Known {
        cases: &[
            "dup_before_connect",
            "dup_before_listen",
            "dup_before_connect_in_epoll",
            "dup_before_udp",
        ],
        players: &[BY_LAUNCHER],
        always: true,
        what: "A copy (`dup`) that was made before `connect` or `listen` stays a socket of the container's own network; with the library only one that another process has by `fork`.",
        reason: "The decision swaps the descriptor that it is made on, and those copies of it that were seen to be made.",
    },
    Known {
        cases: &["options_set_by_a_child"],
        players: &[BY_LIBRARY],
        always: true,
        what: "An option that a child of `fork` sets on a socket that its parent has just made, and then connects, is lost.",
        reason: "A process does not ask the kernel for the options of a socket that it has made and left alone, and cannot see what its children do.",
    },
    Known {
        cases: &["connect_unspecified_leaves_an_error"],
        players: EVERYBODY,
        always: true,
        what: "After `connect` with `AF_UNSPEC` has dissolved a connection, the first send says `EPIPE`, as all that follow, not `ECONNRESET` once.",
        reason: "The descriptor is a fresh socket of the kernel, which has no error pending.",
    },
    Known {
        cases: &["listen_and_never_accept"],
        players: EVERYBODY,
        always: true,
        what: "When a listener is closed, connections that waited in its queue end with an end of file, not with a reset.",
        reason: "The queue holds ready descriptors, which the kernel closes like any others.",
    },
    Known {
        cases: &["ready_only_what_is_asked", "write_to_a_closed_peer"],
        players: &[&[Player::OneService]],
        always: true,
        what: "Between two programs of one service the peer's close is a hang-up at once: `POLLHUP`, and the first write is `EPIPE`.",
        reason: "They hold the two ends of one Unix pair, and a close of the other end is the end of both directions.",
    },
    Known {
        cases: &["reset_told_by_so_error"],
        players: &[&[Player::OneService]],
        always: true,
        what: "Between two programs of one service a reset is told by the next read or write, not by `SO_ERROR`.",
        reason: "Nobody but the kernel stands between the two, and a Unix socket knows no reset of an empty queue.",
    },
    Known {
        cases: &[
            "info_states",
            "info_counts_what_was_sent",
            "info_counts_what_was_received",
        ],
        players: &[&[Player::OneService]],
        always: true,
        what: "Between two programs of one service `TCP_INFO` tells plausible numbers, and `TCP_ESTABLISHED` until the end.",
        reason: "There is no TCP: the bytes go through a Unix pair, which counts none.",
    },
    Known {
        cases: &[
            "accept_after_the_peer_has_reset",
            "batch_tells_a_reset",
            "close_with_unread_data_resets",
            "connect_refused_told_by_read",
            "connect_refused_told_by_write",
            "number_of_receive_tells_a_reset",
            "reset_discards_nothing_that_was_read",
            "reset_told_by_recvmsg",
            "reset_told_by_send",
            "reset_told_by_sendmsg",
            "reset_told_by_write",
            "reset_told_by_writev",
            "reset_with_nothing_unread",
            "go_reset_is_seen_by_read",
        ],
        players: &[BY_LAUNCHER],
        always: true,
        what: "A reset with nothing unread reads as an end of file and writes as `EPIPE`; `SO_ERROR` tells it.",
        reason: "`zt-launch` does not trap the calls that carry data: each trap would cost several microseconds.",
    },
    Known {
        cases: &["listener_carries_no_data"],
        players: &[BY_LAUNCHER],
        always: true,
        what: "A receive on a listening socket waits instead of failing.",
        reason: "As above; it is a mistake that no working program makes.",
    },
    Known {
        cases: &[
            "batch_has_no_names",
            "message_flags_and_control",
            "receive_by_every_call",
            "send_with_a_destination",
            "truncate_discards",
        ],
        players: &[BY_LAUNCHER],
        always: true,
        what: "`recvfrom`, `recvmsg` and `recvmmsg` on a connection write a name, a destination given to a connection is `EISCONN`, `MSG_TRUNC` discards nothing.",
        reason: "As above.",
    },
    Known {
        cases: &[
            "queue_ioctls_of_a_listener",
            "queue_of_unsent_bytes",
            "options_refused_connected",
            "options_refused_listening",
        ],
        players: &[BY_LAUNCHER],
        always: true,
        what: "`ioctl` answers as for a Unix socket: no `SIOCOUTQNSD`, no `SIOCATMARK`; options of levels that TCP does not have fail with another errno.",
        reason: "`zt-launch` traps neither `ioctl` nor options of foreign levels.",
    },
    Known {
        cases: &["passed_onto_an_old_number"],
        players: &[BY_LAUNCHER],
        always: false,
        what: "A socket that is passed on (`SCM_RIGHTS`) before `connect` or `listen`, and that nobody has open meanwhile, stays on the container's own network.",
        reason: "`zt-launch` lets go of a socket that no process has, and cannot look into messages.",
    },
    Known {
        cases: &[
            "options_bind_to_this_device",
            "options_bind_udp_to_this_device",
        ],
        players: &[BY_LAUNCHER],
        always: true,
        what: "The LAN's interface is not listed, nor can a socket be bound to it.",
        reason: "Static programs ask the kernel itself for interfaces.",
    },
];

impl Known {
    fn shows(&self, title: &str, player: Player) -> bool {
        self.cases.contains(&title) && self.players.iter().any(|some| some.contains(&player))
    }
}

const BEGIN: &str = "<!-- sockets: written by `make compatibility` -->\n";
const END: &str = "<!-- end of sockets -->\n";

/// The table as `doc/compatibility.md` has it.
fn section() -> String {
    let row = |known: &Known| {
        let cases = known.cases.iter().map(|case| format!("`{case}`"));
        let cases = cases.collect::<Vec<_>>().join(", ");
        let players = match known.players {
            players if players == EVERYBODY => "all".to_owned(),
            [one] if *one == BY_LIBRARY => "the library's programs".to_owned(),
            [one] if *one == BY_LAUNCHER => "`zt-launch`'s programs".to_owned(),
            players => {
                let names = players.iter().copied().flatten();
                names
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; ")
            }
        };
        let (what, reason) = (known.what, known.reason);
        format!("| {what} | {reason} | {players} | {cases} |\n")
    };
    let rows: String = KNOWN.iter().map(row).collect();
    format!("| what differs | why | seen by | cases |\n|---|---|---|---|\n{rows}")
}

#[test]
fn the_document_has_the_same_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../doc/compatibility.md");
    let text = std::fs::read_to_string(file).expect("doc/compatibility.md");
    let begin = text.find(BEGIN).expect("the beginning of the table") + BEGIN.len();
    let end = text.find(END).expect("the end of the table");
    if std::env::var_os("ZT_WRITE").is_some_and(|value| !value.is_empty()) {
        let text = format!("{}{}{}", &text[..begin], section(), &text[end..]);
        return std::fs::write(file, text).expect("doc/compatibility.md");
    }
    assert_eq!(&text[begin..end], section(), "run `make compatibility`");
}

/// What is wrong with a run: differences that are not known, and known ones that are gone.
pub(crate) fn judge(player: Player, family: Family, kernel: &Traces, lan: &Traces) -> Vec<String> {
    let mut failures = Vec::new();
    for title in chosen().iter().filter(|title| !kernel.contains_key(*title)) {
        failures.push(format!("{title}: no such case"));
    }
    for title in lan.keys().filter(|title| !kernel.contains_key(*title)) {
        failures.push(format!("{title}: only on the LAN"));
    }
    for (title, expected) in kernel {
        let known = KNOWN.iter().find(|known| known.shows(title, player));
        let seen = lan.get(title).map_or(&[][..], Vec::as_slice);
        match (seen == expected.as_slice(), known) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(Known { always: false, .. })) => {}
            (true, Some(Known { what, reason, .. })) => failures.push(format!(
                "{title}, {family:?}: the same as the kernel's, but listed: {what} ({reason})"
            )),
            (false, None) => failures.push(format!(
                "{title}, {family:?}:\n{}",
                side_by_side(expected, seen)
            )),
        }
    }
    failures
}
