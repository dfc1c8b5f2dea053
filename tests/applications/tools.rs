//! curl, wget and ping.

use crate::catalogue::{CURL, PING, WGET};
use crate::site::{LIMIT, Site, digest, noise, on_a_lan, prints, same_file};
use std::fs;
use std::path::PathBuf;
use zt_tests::{Daemon, program, run};

/// A server of files that takes uploads and knows ranges; and its big file.
fn files(site: &Site<'_>) -> (Daemon, PathBuf) {
    let folder = site.folder("files");
    let big = site.write("files/big", noise(16 << 20));
    let line = format!(
        "node {} 8080 {}",
        program("files.js").display(),
        folder.display()
    );
    let server = site.start("files", site.with(&line));
    prints(&server, "listening");
    (server, big)
}

#[test]
fn curl() {
    on_a_lan(&CURL, |a, b| {
        let (_server, big) = files(a);
        let url = format!("http://{}:8080", a.address());
        b.downloads(a, "8080/big", &big);
        let mine = b.write("mine", noise(5 << 20));
        let _ = b.say(&format!(
            "curl -sS -f -m 50 -T {} {url}/mine",
            mine.display()
        ));
        same_file(&a.path("files/mine"), &mine);
        let _ = b.say(&format!(
            "curl -sS -f -m 50 --parallel -o p1 {url}/big -o p2 {url}/big -o p3 {url}/mine"
        ));
        for (copy, original) in [("p1", &big), ("p2", &big), ("p3", &mine)] {
            same_file(&b.path(copy), original);
        }
        let _ = b.say(&format!("curl -sS -f -m 50 -r 1000-1999 -o part {url}/big"));
        let whole = fs::read(&big).expect("big");
        assert_eq!(fs::read(b.path("part")).expect("part"), whole[1000..2000]);
        let code = |line: String| run(b.with(&line), LIMIT).code;
        assert_eq!(code(format!("curl -s -m 20 http://{}:9/", a.address())), 7);
        assert_eq!(
            code("curl -s --connect-timeout 1 http://10.147.20.251/".into()),
            28
        );
        let local =
            format!("curl -sS -f -m 50 -o /dev/null -w %{{remote_ip}}|%{{local_ip}} {url}/mine");
        assert_eq!(b.say(&local), format!("{}|{}", a.address(), b.address()));
        let (there, here) = (a.ipv6_address(), b.ipv6_address());
        let said = b.say(&format!(
            "curl -g -sS -f -m 50 -o by-ipv6 -w %{{remote_ip}}|%{{local_ip}} http://[{there}]:8080/big"
        ));
        assert_eq!(said, format!("{there}|{here}"));
        same_file(&b.path("by-ipv6"), &big);
    });
}

#[test]
fn wget() {
    on_a_lan(&WGET, |a, b| {
        let (_server, big) = files(a);
        let url = format!("http://{}:8080/big", a.address());
        let _ = b.say(&format!("wget -q -T 20 -t 1 -O whole {url}"));
        same_file(&b.path("whole"), &big);
        // The rest of a download that was cut off.
        let whole = fs::read(&big).expect("big");
        let _ = b.write("big", &whole[..5_000_000]);
        let _ = b.say(&format!("wget -q -T 20 -t 1 -c {url}"));
        assert_eq!(digest(&b.path("big")), digest(&big));
        let refused = b.with(&format!("wget -T 20 -t 1 http://{}:9/", a.address()));
        let refused = run(refused, LIMIT);
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.stderr.contains("Connection refused"), "{refused:?}");
    });
}

#[test]
fn ping() {
    on_a_lan(&PING, |a, b| {
        for address in [a.address(), &a.ipv6_address()] {
            let said = b.say(&format!("ping -n -c 5 -i 0.2 -W 20 {address}"));
            assert!(said.contains(" 5 received, 0% packet loss"), "{said}");
            assert!(
                said.contains(&format!(" from {address}: icmp_seq=1 ")),
                "{said}"
            );
        }
        let nobody = run(b.with("ping -n -c 1 -W 1 10.147.20.251"), LIMIT);
        assert_eq!(nobody.code, 1, "{nobody:?}");
        assert!(nobody.stdout.contains(" 0 received"), "{nobody:?}");
    });
}
