//! Node: its web server and client, and plain streams.

use crate::catalogue::NODE;
use crate::site::{on_a_lan, prints};
use zt_tests::program;

#[test]
fn node() {
    on_a_lan(&NODE, |a, b| {
        let script = program("node.js");
        let script = script.display();
        let server = a.start("node", a.with(&format!("node {script} server 8080 8081")));
        prints(&server, "listening");
        let said = b.say(&format!("node {script} client {} 8080 8081", a.address()));
        let expected = format!(
            "300 answers: GET of {0}, on at most 10 connections\nposted 4194304 bytes: equal\n\
             20 streams of 262144 bytes: equal\nrefused: ECONNREFUSED\n",
            b.address()
        );
        assert_eq!(said, expected);
        assert_eq!(b.curl(a, "8080/"), format!("GET of {}", b.address()));
    });
}
