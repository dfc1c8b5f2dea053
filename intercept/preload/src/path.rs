//! Calls that take a path: the control socket, and two looks at the file system.

use zt_intercept::lan::MAX_PATH;
use zt_intercept::{Errno, Fd, Kernel};
use zt_socket_rpc::linux::{AF_UNIX, EINVAL, SOCK_NONBLOCK, SOCK_SEQPACKET};

use crate::process::{O_CLOEXEC, Process};
use crate::raw::{checked, number};

const O_PATH: usize = 0o10_000_000;
const O_DIRECTORY: usize = if cfg!(target_arch = "aarch64") {
    0o40000
} else {
    0o200_000
};
const AT_FDCWD: usize = -100_isize as usize;
/// Bytes of `sun_path`.
const SUN_PATH: usize = 108;

/// A non-blocking `SEQPACKET` socket connected to this path.
pub(crate) fn connect(path: &[u8]) -> Result<Fd, Errno> {
    let fd = Process.socket(i32::from(AF_UNIX), SOCK_SEQPACKET | SOCK_NONBLOCK, 0)?;
    if let Err(errno) = connect_to(fd, path) {
        Process.close(fd);
        return Err(errno);
    }
    Ok(fd)
}

/// See [`Kernel::connect_to`].
pub(crate) fn connect_to(fd: Fd, path: &[u8]) -> Result<(), Errno> {
    if path.len() < SUN_PATH {
        connect_unix(fd, path)
    } else {
        connect_unix_beside(fd, path)
    }
}

/// Connects to a path that fits into a `struct sockaddr_un`.
fn connect_unix(fd: Fd, path: &[u8]) -> Result<(), Errno> {
    let mut address = [0; 2 + SUN_PATH];
    address[..2].copy_from_slice(&AF_UNIX.to_ne_bytes());
    address
        .get_mut(2..2 + path.len())
        .ok_or(Errno(EINVAL))?
        .copy_from_slice(path);
    let arguments = [fd as usize, address.as_ptr() as usize, 2 + path.len() + 1];
    if path.len() >= SUN_PATH {
        return Err(Errno(EINVAL));
    }
    // SAFETY: a readable address of the length given.
    unsafe { checked(number::CONNECT, arguments) }.map(|_| ())
}

/// The same through a descriptor of the directory, for a longer path.
fn connect_unix_beside(fd: Fd, path: &[u8]) -> Result<(), Errno> {
    let slash = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .ok_or(Errno(EINVAL))?;
    let directory: [u8; MAX_PATH + 1] = terminated(&[&path[..=slash]])?;
    let directory = open(&directory, O_PATH | O_DIRECTORY)?;
    let mut buffer = [0; 10];
    let short: Result<[u8; SUN_PATH], Errno> = terminated(&[
        b"/proc/self/fd/",
        digits(directory, &mut buffer),
        b"/",
        &path[slash + 1..],
    ]);
    let result = short.and_then(|short| {
        let len = short.iter().position(|&byte| byte == 0).unwrap_or(0);
        connect_unix(fd, &short[..len])
    });
    Process.close(directory);
    result
}

/// See [`Kernel::read_fd_info`].
pub(crate) fn read_fd_info(fd: Fd, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut number_buffer = [0; 10];
    let path: [u8; 32] = terminated(&[b"/proc/self/fdinfo/", digits(fd, &mut number_buffer)])?;
    let file = open(&path, 0)?;
    // SAFETY: no pointers.
    let sought = unsafe { checked(number::LSEEK, [file as usize, offset as usize]) };
    let arguments = [file as usize, buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: a writable buffer of the length given.
    let read = sought.and_then(|_| unsafe { checked(number::READ, arguments) });
    Process.close(file);
    read
}

/// Words of a `struct stat` of either architecture: device and inode first, then the times at the same place. It has
/// 144 bytes on `x86_64`, 128 on `aarch64`.
type Stat = [u64; 18];

/// Device and inode of an open file; all copies of a socket have the same.
pub(crate) fn file_of(fd: Fd) -> Option<[u64; 2]> {
    const AT_EMPTY_PATH: usize = 0x1000;
    let mut stat = Stat::default();
    let arguments = [
        fd as usize,
        c"".as_ptr() as usize,
        stat.as_mut_ptr() as usize,
        AT_EMPTY_PATH,
    ];
    // SAFETY: a zero-terminated path, and room for a `struct stat`.
    unsafe { checked(number::NEWFSTATAT, arguments) }.ok()?;
    Some([stat[0], stat[1]])
}

/// See [`Kernel::file_stamp`].
pub(crate) fn file_stamp(path: &[u8]) -> Option<u64> {
    const CHANGE_TIME: usize = 13;
    let path: [u8; MAX_PATH + 1] = terminated(&[path]).ok()?;
    let mut stat = Stat::default();
    let arguments = [AT_FDCWD, path.as_ptr() as usize, stat.as_mut_ptr() as usize];
    // SAFETY: a zero-terminated path, and room for a `struct stat`.
    unsafe { checked(number::NEWFSTATAT, arguments) }.ok()?;
    let [device, inode] = [stat[0], stat[1]];
    let change = stat[CHANGE_TIME]
        .wrapping_mul(1_000_000_007)
        .wrapping_add(stat[CHANGE_TIME + 1]);
    let stamp = [device, inode, change]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, part| {
            (hash ^ part)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23)
        });
    Some(stamp.max(1))
}

/// Writes `text` and a terminating zero.
fn terminated<const N: usize>(parts: &[&[u8]]) -> Result<[u8; N], Errno> {
    let mut path = [0; N];
    for (at, &byte) in parts.iter().copied().flatten().enumerate() {
        // The last byte stays zero.
        if at + 1 >= N {
            return Err(Errno(EINVAL));
        }
        path[at] = byte;
    }
    Ok(path)
}

/// Decimal digits of a descriptor.
fn digits(fd: Fd, buffer: &mut [u8; 10]) -> &[u8] {
    let mut value = fd.unsigned_abs();
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 || at == 0 {
            return &buffer[at..];
        }
    }
}

fn open(path: &[u8], flags: usize) -> Result<Fd, Errno> {
    // SAFETY: callers pass zero-terminated paths.
    let fd = unsafe {
        checked(
            number::OPENAT,
            [AT_FDCWD, path.as_ptr() as usize, flags | O_CLOEXEC],
        )
    }?;
    Ok(fd as Fd)
}
