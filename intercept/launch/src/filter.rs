//! The seccomp filter: which calls are trapped. Everything else runs at its own speed.
//!
//! No call that carries data is trapped. Sockets are told apart by their family and type, options by their numbers, which
//! are in registers.

use libc::{
    AF_INET, AF_INET6, BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K,
    BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF,
    SOCK_DGRAM, SOCK_STREAM, c_long, sock_filter,
};
use zt_intercept::receive::MSG_ERRQUEUE;
use zt_intercept::send::MSG_FASTOPEN;
use zt_socket_rpc::linux::{SOL_IP, SOL_IPV6, SOL_SOCKET, SOL_TCP};

/// Calls that are trapped whatever their arguments are.
const TRAPPED: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Whether these have an address is not in the registers.
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    // Whoever makes an epoll instance may register a socket in it that is swapped later.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_create,
    libc::SYS_epoll_create1,
];

/// `offsetof(struct seccomp_data, …)`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
mod native {
    /// `AUDIT_ARCH_X86_64`.
    pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
    /// `__X32_SYSCALL_BIT`: the same architecture, other numbers.
    pub(super) const OTHER_NUMBERS: u32 = 0x4000_0000;
    /// `socketcall` and `socket` of i386.
    pub(super) const FOREIGN_SOCKETS: [u32; 2] = [102, 359];
}

#[cfg(target_arch = "aarch64")]
mod native {
    /// `AUDIT_ARCH_AARCH64`.
    pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;
    /// No such numbers here.
    pub(super) const OTHER_NUMBERS: u32 = 0x4000_0000;
    /// `socket` of 32-bit ARM.
    pub(super) const FOREIGN_SOCKETS: [u32; 1] = [281];
}

/// The flags of the message that hands the filter over. `MSG_PROBE` means nothing to a Unix socket.
pub(crate) const HAND_OVER: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | MSG_PROBE;
const MSG_PROBE: i32 = 0x10;

/// Option names that are looked at; the kernel's own are below.
const OPTION_NAMES: i32 = 256;

const TRAP: u32 = SECCOMP_RET_USER_NOTIF;
const ALLOW: u32 = SECCOMP_RET_ALLOW;
/// A program of another ABI gets no sockets at all: its calls could not be recognised, and it must not believe to be on
/// the LAN.
const REFUSE: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The program for the kernel.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut filter = vec![load(ARCHITECTURE)];
    let mut foreign = vec![load(NUMBER)];
    for number in native::FOREIGN_SOCKETS {
        foreign.extend([unless(BPF_JEQ, number, 1), end(REFUSE)]);
    }
    foreign.push(end(ALLOW));
    filter.push(when(BPF_JEQ, native::ARCHITECTURE, foreign.len()));
    filter.extend(foreign);

    filter.push(load(NUMBER));
    filter.extend([unless(BPF_JGE, native::OTHER_NUMBERS, 1), end(REFUSE)]);
    for &number in TRAPPED {
        filter.extend([unless(BPF_JEQ, number as u32, 1), end(TRAP)]);
    }
    branch(&mut filter, libc::SYS_socket, sockets());
    // Calls that go round the filter.
    branch(&mut filter, libc::SYS_io_uring_setup, vec![end(REFUSE)]);
    for number in [libc::SYS_getsockopt, libc::SYS_setsockopt] {
        branch(&mut filter, number, options());
    }
    // A Unix socket would answer with stream data.
    branch(
        &mut filter,
        libc::SYS_recvfrom,
        [addressed(4), flagged(3, MSG_ERRQUEUE)].concat(),
    );
    // The kernel would connect on its own network.
    branch(
        &mut filter,
        libc::SYS_sendto,
        [addressed(4), flagged(3, MSG_FASTOPEN)].concat(),
    );
    branch(&mut filter, libc::SYS_sendmsg, unless_hand_over());
    filter.push(end(ALLOW));
    filter
}

/// `block`, which ends with a verdict, for one call.
fn branch(filter: &mut Vec<sock_filter>, number: c_long, block: Vec<sock_filter>) {
    filter.push(unless(BPF_JEQ, number as u32, block.len()));
    filter.extend(block);
}

fn sockets() -> Vec<sock_filter> {
    let internet = [
        when(BPF_JEQ, SOCK_STREAM.cast_unsigned(), 2),
        when(BPF_JEQ, SOCK_DGRAM.cast_unsigned(), 1),
        end(ALLOW),
        end(TRAP),
    ];
    let mut block = vec![
        load(ARGUMENTS),
        when(BPF_JEQ, AF_INET.cast_unsigned(), 2),
        when(BPF_JEQ, AF_INET6.cast_unsigned(), 1),
        end(ALLOW),
        load(ARGUMENTS + 8),
        // `SOCK_TYPE_MASK`: the rest are flags.
        instruction(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xf),
    ];
    block.extend(internet);
    block
}

fn options() -> Vec<sock_filter> {
    let mut block = vec![load(ARGUMENTS + 8)];
    for level in [SOL_TCP, SOL_IP, SOL_IPV6] {
        block.extend([unless(BPF_JEQ, level.cast_unsigned(), 1), end(TRAP)]);
    }
    block.extend([when(BPF_JEQ, SOL_SOCKET.cast_unsigned(), 1), end(ALLOW)]);
    block.push(load(ARGUMENTS + 16));
    for name in (0..OPTION_NAMES).filter(|&name| zt_intercept::is_interesting(SOL_SOCKET, name)) {
        block.extend([unless(BPF_JEQ, name.cast_unsigned(), 1), end(TRAP)]);
    }
    block.push(end(ALLOW));
    block
}

/// A trap if a pointer is not null; goes on otherwise.
fn addressed(argument: u32) -> Vec<sock_filter> {
    let halves = [ARGUMENTS + 8 * argument, ARGUMENTS + 8 * argument + 4];
    let trap = |at| [load(at), when(BPF_JEQ, 0, 1), end(TRAP)];
    halves.into_iter().flat_map(trap).collect()
}

/// A trap, but for the message that hands the filter over: nobody listens yet.
fn unless_hand_over() -> Vec<sock_filter> {
    vec![
        load(ARGUMENTS + 8 * 2),
        when(BPF_JEQ, HAND_OVER.cast_unsigned(), 1),
        end(TRAP),
        end(ALLOW),
    ]
}

fn flagged(argument: u32, flag: i32) -> Vec<sock_filter> {
    vec![
        load(ARGUMENTS + 8 * argument),
        unless(BPF_JSET, flag.cast_unsigned(), 1),
        end(TRAP),
        end(ALLOW),
    ]
}

/// Loads the lower half of a word of `struct seccomp_data`.
fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

/// Skips the next `count` instructions when the test holds.
fn when(test: u32, value: u32, count: usize) -> sock_filter {
    instruction(BPF_JMP | test | BPF_K, count, 0, value)
}

/// Skips the next `count` instructions unless the test holds.
fn unless(test: u32, value: u32, count: usize) -> sock_filter {
    instruction(BPF_JMP | test | BPF_K, 0, count, value)
}

fn end(verdict: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, verdict)
}

fn instruction(code: u32, jump_true: usize, jump_false: usize, value: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: u8::try_from(jump_true).expect("a short block"),
        jf: u8::try_from(jump_false).expect("a short block"),
        k: value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does.
    fn verdict(architecture: u32, number: c_long, arguments: [u64; 6]) -> u32 {
        let filter = program();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = filter[at];
            let (value, code) = (instruction.k, u32::from(instruction.code));
            at += 1;
            let holds = match code {
                code if code == BPF_RET | BPF_K => return value,
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    accumulator = match value {
                        NUMBER => number as u32,
                        ARCHITECTURE => architecture,
                        offset => arguments[(offset - ARGUMENTS) as usize / 8] as u32,
                    };
                    continue;
                }
                code if code == BPF_ALU | BPF_AND | BPF_K => {
                    accumulator &= value;
                    continue;
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => accumulator == value,
                code if code == BPF_JMP | BPF_JGE | BPF_K => accumulator >= value,
                code if code == BPF_JMP | BPF_JSET | BPF_K => accumulator & value != 0,
                code => panic!("instruction {code:#x}"),
            };
            at += usize::from(if holds {
                instruction.jt
            } else {
                instruction.jf
            });
        }
    }

    fn native(number: c_long, arguments: [u64; 6]) -> u32 {
        verdict(native::ARCHITECTURE, number, arguments)
    }

    #[test]
    fn socket_calls_are_trapped_and_data_is_not() {
        for &number in TRAPPED {
            assert_eq!(native(number, [0; 6]), TRAP);
        }
        for number in [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_sendto,
            libc::SYS_recvfrom,
            libc::SYS_close,
            libc::SYS_execve,
            libc::SYS_epoll_ctl,
        ] {
            assert_eq!(native(number, [0; 6]), ALLOW, "call {number}");
        }
    }

    #[test]
    fn internet_sockets_are_made_by_the_supervisor() {
        let socket = |family: i32, kind: i32| {
            native(libc::SYS_socket, [family as u64, kind as u64, 0, 0, 0, 0])
        };
        assert_eq!(socket(AF_INET, SOCK_STREAM), TRAP);
        assert_eq!(socket(AF_INET6, SOCK_STREAM | libc::SOCK_CLOEXEC), TRAP);
        assert_eq!(socket(AF_INET, SOCK_DGRAM | libc::SOCK_NONBLOCK), TRAP);
        assert_eq!(socket(AF_INET, libc::SOCK_RAW), ALLOW);
        assert_eq!(socket(libc::AF_UNIX, SOCK_STREAM), ALLOW);
        assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW), ALLOW);
        assert_eq!(native(libc::SYS_io_uring_setup, [0; 6]), REFUSE);
    }

    #[test]
    fn options_that_the_kernel_answers_rightly_are_not_trapped() {
        use zt_socket_rpc::linux::*;
        let option = |level: i32, name: i32| {
            native(
                libc::SYS_getsockopt,
                [3, level as u64, name as u64, 0, 0, 0],
            )
        };
        assert_eq!(option(SOL_SOCKET, SO_ERROR), TRAP);
        assert_eq!(option(SOL_TCP, TCP_NODELAY), TRAP);
        assert_eq!(option(SOL_SOCKET, SO_RCVBUF), ALLOW);
        assert_eq!(option(270, 1), ALLOW);
    }

    #[test]
    fn flags_that_need_a_look_are_trapped() {
        let flags = MSG_ERRQUEUE as u64 | 0x40;
        assert_eq!(native(libc::SYS_recvfrom, [3, 0, 0, flags, 0, 0]), TRAP);
        let flags = MSG_FASTOPEN as u64;
        assert_eq!(native(libc::SYS_sendto, [3, 0, 0, flags, 0, 0]), TRAP);
    }

    #[test]
    fn addresses_are_trapped() {
        for number in [libc::SYS_sendto, libc::SYS_recvfrom] {
            assert_eq!(native(number, [3, 1, 1, 0, 0x1000, 16]), TRAP);
            assert_eq!(native(number, [3, 1, 1, 0, 0, 16]), ALLOW);
        }
        assert_eq!(native(libc::SYS_sendmsg, [3, 1, 0, 0, 0, 0]), TRAP);
        let hand_over = [3, 1, HAND_OVER as u64, 0, 0, 0];
        assert_eq!(native(libc::SYS_sendmsg, hand_over), ALLOW);
    }

    #[test]
    fn another_abi_gets_no_sockets() {
        const I386: u32 = 0x4000_0003;
        for number in native::FOREIGN_SOCKETS {
            assert_eq!(verdict(I386, c_long::from(number), [0; 6]), REFUSE);
        }
        assert_eq!(verdict(I386, 4, [0; 6]), ALLOW);
        assert_eq!(native(libc::SYS_connect | 0x4000_0000, [0; 6]), REFUSE);
    }
}
