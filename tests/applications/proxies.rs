//! HAProxy before two servers of another host.

use crate::catalogue::HAPROXY;
use crate::site::{SOON, Site, on_a_lan, prints};
use std::collections::BTreeSet;
use std::fs;
use zt_tests::{Daemon, program, wait_for};

fn behind(site: &Site<'_>, port: u16) -> Daemon {
    let script = program("whoami.py");
    let line = format!("python3 -u {} {port}", script.display());
    let daemon = site.start(&format!("behind-{port}"), site.with(&line));
    prints(&daemon, "listening");
    daemon
}

#[test]
fn haproxy() {
    on_a_lan(&HAPROXY, |a, b| {
        let first = behind(b, 8081);
        let _second = behind(b, 8082);
        let folder = a.folder("haproxy");
        // A root directory of its own, as in Debian's configuration, with the network's socket in it.
        let jail = a.folder("haproxy/jail");
        let inside = jail.join(a.socket().strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(inside.parent().expect("a folder")).expect("folder");
        fs::hard_link(a.socket(), &inside).expect("link of the socket");
        let conf = format!(
            "global\n chroot {jail}\n daemon\n maxconn 1000\n user haproxy\n group haproxy\n pidfile {folder}/pid\n\
             defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n timeout check 10s\n\
             frontend web\n bind :8080\n default_backend two\n\
             backend two\n balance roundrobin\n option forwardfor\n option httpchk GET /\n\
             option redispatch\n default-server check inter 2s fastinter 500ms downinter 500ms fall 3 rise 1\n\
             server one {at}:8081\n server two {at}:8082\n\
             listen state\n bind :8091\n stats enable\n stats uri /\n\
             listen raw\n mode tcp\n bind :8090\n server one {at}:8082\n",
            folder = folder.display(),
            jail = jail.display(),
            at = b.address(),
        );
        let conf = a.write("haproxy/haproxy.cfg", conf);
        let _ = a.say(&format!("haproxy -f {}", conf.display()));
        b.reaches(a, 8080);
        let answers =
            |count: usize| -> BTreeSet<String> { (0..count).map(|_| b.curl(a, "8080/")).collect() };
        let answer = |port: u16| format!("{port}: {} for {}\n", a.address(), b.address());
        wait_for("both servers in turn", SOON, || {
            let both = BTreeSet::from([answer(8081), answer(8082)]);
            (answers(4) == both).then_some(())
        });
        assert_eq!(
            b.curl(a, "8090/"),
            format!("8082: {} for None\n", a.address())
        );
        b.ab(a, "8080/", 500);
        let is = |state: &str| {
            wait_for("the word of a health check", SOON, || {
                let table = b.curl(a, "8091/;csv");
                let first = table.lines().find(|line| line.starts_with("two,one,"))?;
                first.contains(&format!(",{state},")).then_some(())
            });
        };
        drop(first);
        is("DOWN");
        assert_eq!(answers(4), BTreeSet::from([answer(8082)]));
        let _first = behind(b, 8081);
        is("UP");
        wait_for("the first server's return", SOON, || {
            (answers(4).len() == 2).then_some(())
        });
    });
}
