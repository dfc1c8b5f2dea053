//! Go: its own web server and client, with and without a C library.

use crate::catalogue::GO;
use crate::site::{LIMIT, on_a_lan, prints};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use zt_tests::{program, run};

fn build(target: PathBuf, cgo: &str) -> String {
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(&target)
        .arg(program("web.go"))
        .env("CGO_ENABLED", cgo)
        .env("GOCACHE", std::env::temp_dir().join("zt-go-cache"))
        .env("GO111MODULE", "off");
    let _ = run(go, Duration::from_secs(240)).expect_ok("go build");
    target.display().to_string()
}

#[test]
fn go() {
    on_a_lan(&GO, |a, b| {
        let fixed = build(a.path("static"), "0");
        let cgo = build(a.path("cgo"), "1");
        for (port, server, client) in [(8080, &fixed, &cgo), (8081, &cgo, &fixed)] {
            let line = format!("{server} server :{port}");
            let daemon = a.start(&format!("web-{port}"), a.launched(&line));
            prints(&daemon, "listening");
            let url = format!("http://{}:{port}/", a.address());
            let answers = run(b.launched(&format!("{client} client {url} 300")), LIMIT);
            let expected = format!("300 {} to {}:{port}\n", b.address(), a.address());
            assert_eq!(answers.expect_ok("the client"), expected);
            b.ab(a, &format!("{port}/"), 500);
        }
    });
}
