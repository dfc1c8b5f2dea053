//! OpenSSH: a daemon that drops its rights, logins by key, copies, and forwarded ports.

use crate::catalogue::SSH;
use crate::site::{LIMIT, Site, noise, on_a_lan, prints, same_file};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use zt_tests::{program, run, wait_for};

fn key(site: &Site<'_>, name: &str) -> String {
    let path = site.path(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&path);
    let _ = run(keygen, LIMIT).expect_ok("ssh-keygen");
    path.display().to_string()
}

/// Starts the daemon, which goes to the background by itself.
fn daemon(site: &Site<'_>, public: &str) {
    let folder = site.folder("ssh").display().to_string();
    let _ = key(site, "ssh/host");
    let _ = fs::copy(public, site.path("ssh/authorized")).expect("the public key");
    let conf = format!(
        "Port 2222\nHostKey {folder}/host\nPidFile {folder}/sshd.pid\nUsePAM no\nStrictModes no\n\
         AuthorizedKeysFile {folder}/authorized\nPermitRootLogin prohibit-password\n\
         PasswordAuthentication no\nGatewayPorts clientspecified\nSubsystem sftp internal-sftp\n\
         Match User www-data\nForceCommand internal-sftp\n"
    );
    let conf = site.write("ssh/sshd_config", conf);
    // Where the process that meets strangers is shut in; Debian's service makes it at its start.
    fs::create_dir_all("/run/sshd").expect("/run/sshd");
    fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755)).expect("chmod");
    let line = format!("/usr/sbin/sshd -f {} -E {folder}/log", conf.display());
    let _ = site.say(&line);
}

#[test]
fn openssh() {
    on_a_lan(&SSH, |a, b| {
        let identity = key(b, "identity");
        daemon(a, &format!("{identity}.pub"));
        b.reaches(a, 2222);
        let options = format!(
            "-F none -i {identity} -o IdentitiesOnly=yes -o BatchMode=yes \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile={}",
            b.path("known").display()
        );
        let at = a.address();

        let mut login = b.with(&format!("ssh {options} -p 2222 root@{at}"));
        login.arg("echo $SSH_CONNECTION; id -un");
        let said = run(login, LIMIT).expect_ok("ssh");
        let words: Vec<&str> = said.split_whitespace().collect();
        let [client, _, server, "2222", "root"] = words.as_slice() else {
            panic!("{said}");
        };
        assert_eq!((*client, *server), (b.address(), at));

        let original = b.write("original", noise(64 << 20));
        let there = a.path("there");
        let copy = |from: &str, to: &str| {
            let _ = b.say(&format!("scp -q {options} -P 2222 {from} {to}"));
        };
        copy("original", &format!("root@{at}:{}", there.display()));
        same_file(&there, &original);
        // Back, from a process that has become another user.
        fs::set_permissions(&there, fs::Permissions::from_mode(0o644)).expect("chmod");
        copy(&format!("www-data@{at}:{}", there.display()), "back");
        same_file(&b.path("back"), &original);

        // The daemon's host has a page for its loopback only, the client's host too.
        let whoami = program("whoami.py");
        let page = |site: &Site<'_>, port: u16| {
            let line = format!("python3 -u {} {port} 127.0.0.1", whoami.display());
            let page = site.start(&format!("page-{port}"), site.plain(&line));
            prints(&page, "listening");
            page
        };
        let _pages = (page(a, 8001), page(b, 8002));
        let forward = format!(
            "ssh {options} -p 2222 -N -o ExitOnForwardFailure=yes -L 127.0.0.1:7001:127.0.0.1:8001 \
             -R {at}:7002:127.0.0.1:8002 www-data@{at}"
        );
        let mut forward = b.start("forward", b.with(&forward));
        let near = |site: &Site<'_>, url: &str, library: bool| {
            let line = format!("curl -sS -m 20 {url}");
            let command = if library {
                site.with(&line)
            } else {
                site.plain(&line)
            };
            let output = run(command, LIMIT);
            (output.code == 0).then_some(output.stdout)
        };
        let local = wait_for("the forwarded local port", LIMIT, || {
            assert!(forward.ended().is_none(), "{}", forward.log());
            near(b, "http://127.0.0.1:7001/", false)
        });
        assert_eq!(local, "8001: 127.0.0.1 for None\n");
        let remote = wait_for("the forwarded remote port", LIMIT, || {
            assert!(forward.ended().is_none(), "{}", forward.log());
            near(b, &format!("http://{at}:7002/"), true)
        });
        assert_eq!(remote, "8002: 127.0.0.1 for None\n");
        a.logs(
            "ssh/log",
            &["Accepted publickey for www-data from", b.address()],
        );
    });
}
