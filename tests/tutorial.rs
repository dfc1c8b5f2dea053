//! The tutorial of the 2016 SDK, word for word, without containers and as a normal user.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use zt_tests::{Daemon, Host, Lab, Service, build_dir, run, wait_for};

const PAGE: &str = "hello from the tutorial\n";

/// A line for the shell of a normal user of this host, who has the tools in the path.
fn shell(host: &Host, line: &str) -> Command {
    let mut command = host.command_as_nobody("env");
    let build = build_dir();
    command.arg(format!(
        "PATH={}:{}",
        build.display(),
        std::env::var("PATH").expect("PATH")
    ));
    command.arg(format!("BUILD={}", build.display()));
    command.args(["HOME=home", "sh", "-c", line]);
    command
}

fn say(host: &Host, line: &str) -> String {
    run(shell(host, line), Duration::from_secs(20)).expect_ok(line)
}

/// Ends the daemon of a home directory by the pid that it left there.
struct EndOnDrop<'a>(&'a Path);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.0.join("zerotier-one.pid"));
        if let Some(pid) = pid.ok().and_then(|pid| pid.trim().parse().ok()) {
            // SAFETY: a plain system call; the pid is that of the daemon of this home.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
}

#[test]
fn the_tutorial_of_2016_works_word_for_word() {
    let lab = Lab::new();
    let (root, host, other) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let home = host.dir().join("home");
    std::fs::create_dir(&home).expect("home");
    std::fs::copy(lan.home().join("planet"), home.join("planet")).expect("planet");
    for path in [&home, &home.join("planet")] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("chown");
    }
    std::fs::write(host.dir().join("index.html"), PAGE).expect("page");
    // A young link-local address is marked until it has been probed.
    let addresses = || say(&host, "ip addr").replace(" tentative", "");
    let before = addresses();

    let _end = EndOnDrop(&home);
    let _ = say(&host, "zerotier-sdk-service -d -p8000 $HOME");
    let info = wait_for("the control API", Duration::from_secs(10), || {
        let output = run(
            shell(&host, "zerotier-cli -D$HOME info"),
            Duration::from_secs(10),
        );
        (output.code == 0).then_some(output.stdout)
    });
    let address = info.split_whitespace().nth(2).expect("address");
    lan.authorize(&network, address);
    let joined = say(&host, &format!("zerotier-cli -D$HOME join {network}"));
    assert_eq!(joined, "200 join OK\n");
    let listed = wait_for("an address", Duration::from_secs(10), || {
        let text = say(&host, "zerotier-cli -D$HOME listnetworks");
        text.lines()
            .find(|line| line.contains(" OK ") && line.ends_with("/24"))
            .map(str::to_owned)
    });
    // 200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>
    let fields: Vec<_> = listed.split_whitespace().collect();
    let socket = home.join(format!("nc_{network}"));
    assert_eq!(fields.get(7).map(Path::new), Some(socket.as_path()));
    let ip = fields.last().expect("address").trim_end_matches("/24");

    let line = format!(
        "LD_PRELOAD=$BUILD/libztintercept.so ZT_NC_NETWORK=$HOME/nc_{network} exec python3 -u -m http.server 80"
    );
    let server = Daemon::start(shell(&host, &line), &host.dir().join("http.log"));
    wait_for("the web server", Duration::from_secs(5), || {
        server.log().contains("Serving").then_some(())
    });
    let (client, client_ip) = Service::start_member(&other, &lan, &network);
    let mut curl = client.intercepted(&network, "curl");
    curl.args(["-sS", "-m", "10", &format!("http://{ip}/")]);
    assert_eq!(run(curl, Duration::from_secs(15)).expect_ok("curl"), PAGE);
    wait_for(
        "the client's address in the log",
        Duration::from_secs(5),
        || {
            server
                .log()
                .contains(&format!("{client_ip} - - "))
                .then_some(())
        },
    );
    assert_eq!(addresses(), before, "nothing new on the host");
}
