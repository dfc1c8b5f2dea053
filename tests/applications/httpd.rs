//! Other web servers: Apache with its two ways to work, lighttpd, the static busybox, a small one in C.

use crate::catalogue::{APACHE_EVENT, APACHE_PREFORK, BUSYBOX, HTTPSTUB, LIGHTTPD};
use crate::site::{LIMIT, SOON, Site, noise, on_a_lan, prints, same_file, vanishes};
use crate::table::Application;
use std::path::{Path, PathBuf};
use std::process::Command;
use zt_tests::{program, run, wait_for};

const PAGE: &str = "hello from the LAN\n";

/// A folder with a page and a big file.
pub(crate) fn pages(site: &Site<'_>) -> (PathBuf, PathBuf) {
    let html = site.folder("html");
    let _ = site.write("html/index.html", PAGE);
    (html, site.write("html/big", noise(8 << 20)))
}

/// The page, the big file and some load.
pub(crate) fn serves(a: &Site<'_>, b: &Site<'_>, big: &Path) {
    b.reaches(a, 8080);
    assert_eq!(b.curl(a, "8080/index.html"), PAGE);
    b.downloads(a, "8080/big", big);
    b.ab(a, "8080/index.html", 2000);
}

fn apache(application: &Application, mpm: &str) {
    on_a_lan(application, |a, b| {
        let (html, big) = pages(a);
        let folder = a.folder("apache");
        let modules: String = [mpm, "authz_core"]
            .iter()
            .map(|module| {
                format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
            })
            .collect();
        let conf = format!(
            "{modules}ServerName web\nUser www-data\nGroup www-data\nListen 8080\n\
             ServerRoot {0}\nDefaultRuntimeDir {0}\nPidFile apache.pid\nErrorLog error.log\n\
             LogFormat \"%h [%k] %r %>s\" short\nCustomLog access.log short\nKeepAlive On\n\
             DocumentRoot {1}\n<Directory {1}>\nRequire all granted\n</Directory>\n",
            folder.display(),
            html.display(),
        );
        let conf = a.write("apache/apache.conf", conf);
        let control = |verb: &str| {
            let _ = a.say(&format!("apache2 -f {} -k {verb}", conf.display()));
        };
        control("start");
        serves(a, b, &big);
        a.logs("apache/access.log", &[b.address(), "[0]", "GET /big "]);
        // The requests of one connection are counted: it was kept open.
        a.logs("apache/access.log", &[b.address(), "[50]", " 200"]);
        control("graceful");
        wait_for("the restart", SOON, || {
            let log = a.read("apache/error.log");
            (log.matches("resuming normal operations").count() == 2).then_some(())
        });
        b.ab(a, "8080/index.html", 500);
        control("graceful-stop");
        vanishes(&a.path("apache/apache.pid"));
        let log = a.read("apache/error.log");
        assert!(log.contains(&format!("[{mpm}:notice]")), "{log}");
        for trouble in [":error]", ":alert]", ":crit]", ":emerg]"] {
            assert!(!log.contains(trouble), "{log}");
        }
    });
}

#[test]
fn apache_event() {
    apache(&APACHE_EVENT, "mpm_event");
}

#[test]
fn apache_prefork() {
    apache(&APACHE_PREFORK, "mpm_prefork");
}

#[test]
fn lighttpd() {
    on_a_lan(&LIGHTTPD, |a, b| {
        let (html, big) = pages(a);
        let folder = a.folder("lighttpd");
        let conf = format!(
            "server.modules = ( \"mod_accesslog\" )\nserver.port = 8080\n\
             server.document-root = \"{html}\"\nserver.username = \"www-data\"\n\
             server.groupname = \"www-data\"\nserver.pid-file = \"{folder}/lighttpd.pid\"\n\
             server.errorlog = \"{folder}/error.log\"\naccesslog.filename = \"{folder}/access.log\"\n",
            html = html.display(),
            folder = folder.display(),
        );
        let conf = a.write("lighttpd/lighttpd.conf", conf);
        let _ = a.say(&format!("lighttpd -f {}", conf.display()));
        serves(a, b, &big);
        // A graceful end: what it has logged is written by then.
        a.end("lighttpd/lighttpd.pid", libc::SIGINT);
        a.logs("lighttpd/access.log", &[b.address(), "GET /big ", " 200 "]);
    });
}

#[test]
fn busybox_static() {
    on_a_lan(&BUSYBOX, |a, b| {
        let (html, big) = pages(a);
        let line = format!("busybox httpd -f -vv -p 8080 -h {}", html.display());
        let httpd = a.start("httpd", a.launched(&line));
        serves(a, b, &big);
        let url = format!("http://{}:8080/big", a.address());
        let wget = b.launched(&format!("busybox wget -q -O by-wget {url}"));
        let _ = run(wget, LIMIT).expect_ok("wget");
        same_file(&b.path("by-wget"), &big);
        prints(&httpd, &format!("{}]:", b.address()));
    });
}

/// Compiles `httpstub.c` with `compiler`.
fn stub(site: &Site<'_>, compiler: &str, name: &str) -> PathBuf {
    let binary = site.path(name);
    let mut words = compiler.split(' ');
    let mut command = Command::new(words.next().expect("a compiler"));
    command
        .args(words)
        .args(["-O2", "-Wall", "-Werror", "-o"])
        .arg(&binary)
        .arg(program("httpstub.c"));
    let _ = run(command, LIMIT).expect_ok(compiler);
    binary
}

#[test]
fn httpstub() {
    on_a_lan(&HTTPSTUB, |a, b| {
        let dynamic = stub(a, "cc", "dynamic");
        let fixed = stub(a, "musl-gcc -static", "static");
        let by_library = a.with(&format!("{} 8080", dynamic.display()));
        let by_launcher = a.launched(&format!("{} 8081", fixed.display()));
        for (port, command) in [(8080, by_library), (8081, by_launcher)] {
            let _server = a.start("stub", command);
            b.reaches(a, port);
            let body = b.curl(a, &format!("{port}/some/path"));
            assert_eq!(body, format!("GET /some/path of {}\n", b.address()));
            b.ab(a, &format!("{port}/"), 500);
        }
    });
}
