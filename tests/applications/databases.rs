//! Databases: Redis with a replica, PostgreSQL with pgbench.

use crate::catalogue::{POSTGRES, REDIS};
use crate::site::{LIMIT, SOON, Site, feed, on_a_lan, vanishes};
use std::fmt::Write as _;
use zt_tests::{run, wait_for};

/// Starts a daemon of Redis; nothing is kept on disk.
fn redis(site: &Site<'_>, more: &str) {
    let folder = site.folder("redis");
    let conf = format!(
        "port 6379\nbind * -::*\nprotected-mode no\ndaemonize yes\npidfile {0}/redis.pid\n\
         logfile {0}/redis.log\ndir {0}\nsave \"\"\nenable-debug-command yes\n{more}\n",
        folder.display()
    );
    let conf = site.write("redis/redis.conf", conf);
    let _ = site.say(&format!("redis-server {}", conf.display()));
}

#[test]
fn redis_and_a_replica() {
    on_a_lan(&REDIS, |a, b| {
        redis(a, "");
        b.reaches(a, 6379);
        let ask = |from: &Site<'_>, of: &Site<'_>, what: &str| {
            from.say(&format!("redis-cli -h {} {what}", of.address()))
        };
        assert_eq!(ask(b, a, "ping"), "PONG\n");
        let report = b.say(&format!(
            "redis-benchmark -h {} -q -n 5000 -c 50 -t set,get,incr,lpush,mset",
            a.address()
        ));
        assert_eq!(report.matches("requests per second").count(), 5, "{report}");
        let here = a.say(&format!(
            "redis-benchmark -h {} -q -n 5000 -c 20 -t set,lrange_100",
            a.address()
        ));
        assert!(here.contains("LRANGE_100"), "{here}");
        let piped = b.say(&format!(
            "redis-benchmark -h {} -q -n 20000 -P 16 -c 20 -t set",
            a.address()
        ));
        assert!(piped.contains("requests per second"), "{piped}");

        // Before the replica comes, and after.
        let keys = |from: u32| {
            let mut text = String::new();
            for n in from..from + 1000 {
                let _ = writeln!(text, "SET key:{n} {}", n.wrapping_mul(2_654_435_761));
            }
            text
        };
        let load = b.with(&format!("redis-cli -h {}", a.address()));
        let answers = feed(load, &keys(0));
        assert_eq!(answers.matches("OK").count(), 1000);
        redis(b, &format!("replicaof {} 6379", a.address()));
        a.reaches(b, 6379);
        wait_for("the replica's link", SOON, || {
            ask(a, b, "info replication")
                .contains("master_link_status:up")
                .then_some(())
        });
        let load = a.with(&format!("redis-cli -h {}", a.address()));
        let answers = feed(load, &(keys(1000) + "WAIT 1 20000\n"));
        assert!(answers.ends_with("1\n"), "no replica has them: {answers}");
        assert_eq!(ask(b, a, "debug digest"), ask(a, b, "debug digest"));
        assert_eq!(ask(a, b, "get key:1999"), ask(b, a, "get key:1999"));
        let role = ask(b, a, "info replication");
        assert!(
            role.contains(&format!("slave0:ip={},", b.address())),
            "{role}"
        );
        for (from, of) in [(a, b), (b, a)] {
            let _ = ask(from, of, "shutdown nosave");
            vanishes(&of.path("redis/redis.pid"));
        }
    });
}

#[test]
fn postgres() {
    on_a_lan(&POSTGRES, |a, b| {
        let folder = a.folder("postgres");
        let data = folder.join("data");
        let as_postgres = |program: &str, rest: &str| {
            let line = format!(
                "setpriv --reuid=postgres --regid=postgres --clear-groups \
                 /usr/lib/postgresql/15/bin/{program} {rest}"
            );
            run(a.with(&line), LIMIT).expect_ok(program)
        };
        let data = data.display();
        let _ = as_postgres("initdb", &format!("-D {data} -A trust --no-sync -E UTF8"));
        let conf = format!("{}/data", folder.display());
        let append = |name: &str, text: &str| {
            let path = format!("{conf}/{name}");
            let old = std::fs::read_to_string(&path).expect(name);
            std::fs::write(&path, old + text).expect(name);
        };
        append("pg_hba.conf", "host all all 10.147.20.0/24 trust\n");
        append(
            "postgresql.conf",
            &format!(
                "listen_addresses = '*'\nport = 5432\nfsync = off\nlog_connections = on\n\
                 unix_socket_directories = '{}'\n",
                folder.display()
            ),
        );
        let _ = as_postgres(
            "pg_ctl",
            &format!("-D {data} -w -l {}/log start", folder.display()),
        );
        b.reaches(a, 5432);
        let at = format!("-h {} -U postgres", a.address());
        let _ = b.say(&format!("pgbench {at} -q -i -s 1 postgres"));
        let report = b.say(&format!("pgbench {at} -c 4 -j 2 -t 100 postgres"));
        let all = "number of transactions actually processed: 400/400";
        assert!(report.contains(all), "{report}");
        let report = b.say(&format!("pgbench {at} -S -C -c 4 -t 25 postgres"));
        assert!(report.contains("processed: 100/100"), "{report}");
        let mut query = b.with(&format!("psql {at} -At postgres -c"));
        query.arg("select inet_client_addr(), inet_server_addr(), count(*) from pgbench_accounts");
        let answer = run(query, LIMIT).expect_ok("psql");
        assert_eq!(answer, format!("{}|{}|100000\n", b.address(), a.address()));
        a.logs("postgres/log", &["connection received", b.address()]);
        let _ = as_postgres("pg_ctl", &format!("-D {data} -m fast -w stop"));
    });
}
