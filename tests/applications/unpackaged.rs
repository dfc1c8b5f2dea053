//! Programs that Debian 12 does not package; variables of the environment name them.

#[cfg(feature = "darkhttpd")]
#[test]
fn darkhttpd() {
    use crate::httpd::{pages, serves};
    use crate::site::on_a_lan;

    on_a_lan(&crate::catalogue::DARKHTTPD, |a, b| {
        let (html, big) = pages(a);
        let folder = a.folder("dark");
        let binary = std::env::var("ZT_DARKHTTPD").expect("ZT_DARKHTTPD");
        let _ = a.say(&format!(
            "{binary} {html} --port 8080 --daemon --uid www-data --gid www-data \
             --log {folder}/access.log --pidfile {folder}/pid",
            html = html.display(),
            folder = folder.display(),
        ));
        serves(a, b, &big);
        a.logs("dark/access.log", &[b.address(), "GET /big"]);
        a.end("dark/pid", libc::SIGTERM);
    });
}

#[cfg(feature = "python2")]
#[test]
fn python2() {
    use crate::site::{LIMIT, digest, noise, on_a_lan, prints};

    on_a_lan(&crate::catalogue::PYTHON2, |a, b| {
        let python = std::env::var("ZT_PYTHON2").expect("ZT_PYTHON2");
        let html = a.folder("html");
        let big = a.write("html/big", noise(8 << 20));
        let mut server = a.with(&format!("{python} -u -m SimpleHTTPServer 8080"));
        server.current_dir(html);
        let server = a.start("http", server);
        prints(&server, "Serving");
        b.downloads(a, "8080/big", &big);
        prints(&server, &format!("{} - - ", b.address()));
        let fetch = "import hashlib, sys, urllib2; \
                     print(hashlib.sha256(urllib2.urlopen(sys.argv[1]).read()).hexdigest())";
        let mut client = b.with(&format!("{python} -c"));
        client.args([fetch, &format!("http://{}:8080/big", a.address())]);
        let found = zt_tests::run(client, LIMIT).expect_ok("urllib2");
        assert_eq!(found.trim(), digest(&big));
    });
}
