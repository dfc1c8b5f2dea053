//! nginx as a daemon with workers of another user: files, a proxy, keep-alive, load, and a reload under a download.

use crate::catalogue::NGINX;
use crate::site::{LIMIT, Site, noise, on_a_lan, vanishes};
use std::path::PathBuf;
use std::time::Duration;
use zt_tests::{run, wait_for};

/// A running nginx with `server` in its configuration; `page` is its index.
struct Nginx<'a> {
    site: &'a Site<'a>,
    folder: PathBuf,
}

impl<'a> Nginx<'a> {
    fn start(site: &'a Site<'a>, page: &str, http: &str) -> Self {
        let folder = site.folder("nginx");
        let _ = site.folder("nginx/html");
        let _ = site.write("nginx/html/index.html", page);
        let nginx = Self { site, folder };
        nginx.configure(http);
        let _ = run(nginx.command(""), LIMIT).expect_ok("nginx");
        nginx
    }

    fn configure(&self, http: &str) {
        let conf = format!(
            "user www-data; worker_processes 2; pid nginx.pid; error_log error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log access.log; client_body_temp_path t1; proxy_temp_path t2;\n\
             fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5; {http} }}\n"
        );
        let _ = self.site.write("nginx/nginx.conf", conf);
    }

    fn command(&self, arguments: &str) -> std::process::Command {
        let folder = self.folder.display();
        self.site.with(&format!(
            "nginx -p {folder} -c nginx.conf -e error.log {arguments}"
        ))
    }

    /// `nginx -s quit`, and its end.
    fn quit(&self) {
        let _ = run(self.command("-s quit"), LIMIT).expect_ok("nginx -s quit");
        vanishes(&self.folder.join("nginx.pid"));
    }
}

fn reload_under_a_download(a: &Site<'_>, b: &Site<'_>, nginx: &Nginx<'_>, files: &str) {
    let slow = b.with(&format!(
        "curl -sS -f -m 50 --limit-rate 2M -o slow http://{}:8080/big",
        a.address()
    ));
    let mut slow = b.start("slow", slow);
    wait_for("the download's beginning", LIMIT, || {
        let begun = b.path("slow").metadata().is_ok_and(|file| file.len() > 0);
        begun.then_some(())
    });
    let _ = a.folder("nginx/new");
    let _ = a.write("nginx/new/index.html", "after the reload\n");
    nginx.configure(&files.replace("root html;", "root new;"));
    let _ = run(nginx.command("-s reload"), LIMIT).expect_ok("nginx -s reload");
    wait_for("the new page", Duration::from_secs(20), || {
        (b.curl(a, "8080/") == "after the reload\n").then_some(())
    });
    let status = wait_for("the download's end", LIMIT, || slow.ended());
    assert!(status.success(), "{}", slow.log());
    assert_eq!(
        crate::site::digest(&b.path("slow")),
        crate::site::digest(&a.path("nginx/html/big")),
        "a download that the reload has met"
    );
}

#[test]
fn nginx() {
    on_a_lan(&NGINX, |a, b| {
        let upstream = "server { listen 8081; root html; }";
        let behind = Nginx::start(b, "from behind\n", upstream);
        let files = format!(
            "upstream behind {{ server {}:8081; keepalive 4; }}\n\
             server {{ listen 8080 reuseport; root html; keepalive_timeout 60;\n\
             location /behind/ {{ proxy_pass http://behind/; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; }} }}",
            b.address()
        );
        let nginx = Nginx::start(a, "hello from the LAN\n", &files);
        let big = a.write("nginx/html/big", noise(8 << 20));
        b.reaches(a, 8080);
        a.reaches(b, 8081);

        assert_eq!(b.curl(a, "8080/"), "hello from the LAN\n");
        b.downloads(a, "8080/big", &big);
        a.logs("nginx/access.log", &[b.address(), "GET /big ", "curl"]);
        assert_eq!(b.curl(a, "8080/behind/"), "from behind\n");
        b.logs("nginx/access.log", &[a.address(), "GET / HTTP/1.1"]);

        let url = format!("http://{}:8080/", a.address());
        let connects = b.say(&format!(
            "curl -sS -f -m 50 -o one -o two -w %{{num_connects}} {url} {url}"
        ));
        assert_eq!(
            connects, "10",
            "the second request has the first one's connection"
        );

        // From the same host, through the same service.
        a.downloads(a, "8080/big", &big);
        a.ab(a, "8080/", 500);
        b.ab(a, "8080/", 2000);
        b.ab(a, "8080/behind/", 500);
        let report = b.say(&format!("wrk -t 2 -c 20 -d 1s {url}"));
        assert!(report.contains("requests in"), "{report}");
        for trouble in ["Socket errors", "Non-2xx", " 0 requests in"] {
            assert!(!report.contains(trouble), "{report}");
        }
        reload_under_a_download(a, b, &nginx, &files);
        nginx.quit();
        behind.quit();
        for site in [a, b] {
            let log = site.read("nginx/error.log");
            assert!(
                !log.contains("[error]") && !log.contains("[alert]"),
                "{log}"
            );
        }
    });
}
