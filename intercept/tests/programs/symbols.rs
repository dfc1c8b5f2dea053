//! The library as a file: what it asks of the loader, and what it gives.
//!
//! As a preload it is loaded into every program of a container: one symbol or library too many, and all of them die on
//! some C library.

use std::collections::BTreeSet;
use std::process::Command;

use crate::build::{assert_success, library};

fn run(program: &str, option: &str) -> String {
    let output = Command::new(program)
        .args([option, library().to_str().unwrap()])
        .output()
        .unwrap_or_else(|error| panic!("{program} (Debian package binutils): {error}"));
    assert_success(&output, program);
    String::from_utf8(output.stdout).unwrap()
}

/// Symbols by type letter.
fn symbols(wanted: &str) -> BTreeSet<String> {
    let listed = run("nm", "-D");
    let fields = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace().rev();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    fields
        .filter(|(_, letter)| letter == wanted)
        .map(|(name, _)| name)
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn only_what_every_libc_has_is_undefined() {
    let undefined = symbols("U");
    let allowed = set(&[
        "__errno_location",
        "memcpy",
        "memmove",
        "memset",
        "memcmp",
        "bcmp",
        "strlen",
    ]);
    assert!(undefined.is_subset(&allowed), "{undefined:?}");
    assert_eq!(symbols("w"), set(&["dl_iterate_phdr", "dlsym"]));
}

#[test]
fn exactly_the_hooks_are_exported() {
    let hooks = set(&[
        "socket",
        "connect",
        "bind",
        "listen",
        "accept",
        "accept4",
        "getsockname",
        "getpeername",
        "getsockopt",
        "setsockopt",
        "epoll_ctl",
        "read",
        "readv",
        "recv",
        "recvfrom",
        "recvmsg",
        "sendto",
        "sendmsg",
        "recvmmsg",
        "sendmmsg",
        "write",
        "writev",
        "send",
        "dup",
        "dup2",
        "dup3",
        "fcntl",
        "fcntl64",
        "ioctl",
        "sockatmark",
        "syscall",
        "preadv2",
        "preadv64v2",
        "pwritev2",
        "pwritev64v2",
        "__read_chk",
        "__recv_chk",
        "__recvfrom_chk",
        "getaddrinfo",
        "freeaddrinfo",
        "getnameinfo",
        "gethostbyname",
        "gethostbyname2",
        "gethostbyname_r",
        "gethostbyname2_r",
        "gethostbyaddr",
        "gethostbyaddr_r",
        "res_query",
        "res_search",
        "res_nquery",
        "res_nsearch",
        "__res_query",
        "__res_search",
        "__res_nquery",
        "__res_nsearch",
        "res_querydomain",
        "res_nquerydomain",
        "__res_querydomain",
        "__res_nquerydomain",
        "bindresvport",
        "getifaddrs",
        "freeifaddrs",
        "if_nametoindex",
        "if_indextoname",
        "if_nameindex",
        "if_freenameindex",
    ]);
    assert_eq!(symbols("T"), hooks);
    for other in ["D", "B", "W", "V", "R"] {
        assert_eq!(symbols(other), BTreeSet::new(), "symbols of type {other}");
    }
}

#[test]
fn no_library_no_version_no_thread_storage() {
    let dynamic = run("readelf", "-dW");
    for tag in ["NEEDED", "VERNEED", "VERDEF", "TEXTREL", "(FINI)"] {
        assert!(!dynamic.contains(tag), "{tag} in\n{dynamic}");
    }
    assert!(!run("readelf", "-lW").contains("TLS"));
}
