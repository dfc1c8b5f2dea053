//! The applications: what the rows of the table say. The cases show it.

use crate::table::{Application, Way};

const WORKS: &str = "works";

/// Every row, in the order of the table.
pub(crate) const ALL: &[&Application] = &[
    &NGINX,
    &APACHE_EVENT,
    &APACHE_PREFORK,
    &LIGHTTPD,
    &DARKHTTPD,
    &BUSYBOX,
    &HTTPSTUB,
    &HAPROXY,
    &CURL,
    &WGET,
    &PING,
    &SSH,
    &IPERF,
    &REDIS,
    &POSTGRES,
    &HTTP_SERVER,
    &ASYNCIO,
    &PYTHON2,
    &NODE,
    &GO,
    &JAVA,
];

pub(crate) const NGINX: Application = Application {
    name: "nginx",
    version: &["nginx", "-v"],
    way: Way::Library,
    done: "daemon with workers of another user and a listener for each: files, proxy to a server on the LAN, keep-alive, load by `ab` from both hosts and by `wrk`, reload under a download, client's address in the log",
    result: WORKS,
};

pub(crate) const APACHE_EVENT: Application = Application {
    name: "apache2, mpm_event",
    version: &["apache2", "-v"],
    way: Way::Library,
    done: "daemon with workers of another user: files, keep-alive, load by `ab`, graceful restart and stop, client's address in the log",
    result: WORKS,
};

pub(crate) const APACHE_PREFORK: Application = Application {
    name: "apache2, mpm_prefork",
    ..APACHE_EVENT
};

pub(crate) const LIGHTTPD: Application = Application {
    name: "lighttpd",
    version: &["lighttpd", "-v"],
    way: Way::Library,
    done: "daemon of another user: files, load by `ab`, graceful stop, client's address in the log",
    result: WORKS,
};

pub(crate) const DARKHTTPD: Application = Application {
    name: "darkhttpd",
    version: &["$ZT_DARKHTTPD", "--help"],
    way: Way::Library,
    done: "daemon of another user: files, load by `ab`, client's address in the log",
    result: WORKS,
};

pub(crate) const BUSYBOX: Application = Application {
    name: "busybox httpd and wget, static",
    version: &["busybox", "--help"],
    way: Way::Launcher,
    done: "files both ways, load by `ab`, client's address in the log",
    result: WORKS,
};

pub(crate) const HTTPSTUB: Application = Application {
    name: "httpstub.c",
    version: &["cc", "--version"],
    way: Way::Both,
    done: "a blocking server in C, with glibc and static with musl: pages, load by `ab`, client's address",
    result: WORKS,
};

pub(crate) const HAPROXY: Application = Application {
    name: "haproxy",
    version: &["haproxy", "-v"],
    way: Way::Library,
    done: "daemon of another user, in a root directory of its own, before two servers on the LAN: HTTP and TCP, forwarded address, health checks take a server out and back in, load by `ab`",
    result: WORKS,
};

pub(crate) const CURL: Application = Application {
    name: "curl",
    version: &["curl", "--version"],
    way: Way::Library,
    done: "download, upload, three at once, a range, refused, timed out, both addresses, the same by IPv6",
    result: WORKS,
};

pub(crate) const WGET: Application = Application {
    name: "wget",
    version: &["wget", "--version"],
    way: Way::Library,
    done: "download, the rest of a download, refused",
    result: WORKS,
};

pub(crate) const PING: Application = Application {
    name: "ping",
    version: &["ping", "-V"],
    way: Way::Library,
    done: "echoes by IPv4 and IPv6, and nobody's address",
    result: WORKS,
};

pub(crate) const SSH: Application = Application {
    name: "OpenSSH",
    version: &["ssh", "-V"],
    way: Way::Library,
    done: "sshd as a daemon: login by key, scp of 64 MiB there and, by another user, back, port forwarding with `-L` and `-R`, client's address in the log",
    result: WORKS,
};

pub(crate) const IPERF: Application = Application {
    name: "iperf3",
    version: &["iperf3", "--version"],
    way: Way::Library,
    done: "TCP with one stream and four, with buffers of a chosen size, TCP reverse, UDP, UDP reverse",
    result: WORKS,
};

pub(crate) const REDIS: Application = Application {
    name: "redis",
    version: &["redis-server", "--version"],
    way: Way::Library,
    done: "daemon: `redis-benchmark` plain and pipelined, and from the same host, a replica on the other host with an equal digest",
    result: WORKS,
};

pub(crate) const POSTGRES: Application = Application {
    name: "PostgreSQL",
    version: &["/usr/lib/postgresql/15/bin/postgres", "--version"],
    way: Way::Library,
    done: "daemon: `pgbench` with four clients, also with a connection a transaction, `psql`, both addresses",
    result: WORKS,
};

pub(crate) const HTTP_SERVER: Application = Application {
    name: "Python 3 http.server and urllib",
    version: &["python3", "--version"],
    way: Way::Library,
    done: "download, client's address in the log",
    result: WORKS,
};

pub(crate) const ASYNCIO: Application = Application {
    name: "Python 3 asyncio",
    version: &["python3", "--version"],
    way: Way::Library,
    done: "echo of fifty streams at once, half-closed",
    result: WORKS,
};

pub(crate) const PYTHON2: Application = Application {
    name: "Python 2.7 SimpleHTTPServer and urllib2",
    version: &["$ZT_PYTHON2", "--version"],
    way: Way::Library,
    done: "download, client's address in the log",
    result: WORKS,
};

pub(crate) const NODE: Application = Application {
    name: "Node http and net",
    version: &["node", "--version"],
    way: Way::Library,
    done: "server and client: keep-alive, upload, twenty half-closed streams at once, refused",
    result: WORKS,
};

pub(crate) const GO: Application = Application {
    name: "Go net/http, static and cgo",
    version: &["go", "version"],
    way: Way::Launcher,
    done: "server and client, each static and with a C library: 300 connections, load by `ab`, both addresses",
    result: WORKS,
};

pub(crate) const JAVA: Application = Application {
    name: "Java httpserver and HttpClient",
    version: &["java", "-version"],
    way: Way::Library,
    done: "server and client: a hundred requests at once, upload, refused, load by `ab`",
    result: WORKS,
};
