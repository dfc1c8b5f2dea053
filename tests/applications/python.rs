//! Python's own servers and clients.

use crate::catalogue::{ASYNCIO, HTTP_SERVER};
use crate::site::{noise, on_a_lan, prints};
use zt_tests::program;

#[test]
fn http_server() {
    on_a_lan(&HTTP_SERVER, |a, b| {
        let _ = a.folder("html");
        let big = a.write("html/big", noise(8 << 20));
        let html = a.path("html");
        let line = format!("python3 -u -m http.server 8080 -d {}", html.display());
        let server = a.start("http", a.with(&line));
        prints(&server, "Serving");
        b.downloads(a, "8080/big", &big);
        prints(&server, &format!("{} - - ", b.address()));
        let fetch = "import hashlib, sys, urllib.request as r; \
                     print(hashlib.sha256(r.urlopen(sys.argv[1]).read()).hexdigest())";
        let mut client = b.with("python3 -c");
        client.args([fetch, &format!("http://{}:8080/big", a.address())]);
        let digest = zt_tests::run(client, crate::site::LIMIT).expect_ok("urllib");
        assert_eq!(digest.trim(), crate::site::digest(&big));
    });
}

#[test]
fn asyncio() {
    on_a_lan(&ASYNCIO, |a, b| {
        let script = program("asyncio_echo.py");
        let script = script.display();
        let server = a.start("echo", a.with(&format!("python3 -u {script} server 8080")));
        prints(&server, "listening");
        let said = b.say(&format!("python3 {script} client {} 8080", a.address()));
        assert_eq!(said, "50 streams of 300000 bytes came back\n");
        prints(&server, &format!("50 streams from {}", b.address()));
    });
}
