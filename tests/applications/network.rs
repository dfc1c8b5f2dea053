//! iperf3: what people measure networks with.

use crate::catalogue::IPERF;
use crate::site::{Site, number, on_a_lan};
use serde_json::Value;
use std::cell::Cell;

/// One measurement against `server`, which listens anew for each.
fn measure(client: &Site<'_>, server: &Site<'_>, test: u32, options: &str) -> Value {
    server.logs(
        "iperf3.log",
        &["Server listening", &format!("(test #{test})")],
    );
    let line = format!("iperf3 -J -c {} {options}", server.address());
    let text = client.say(&line);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(report.get("error"), None, "{line}: {text}");
    report
}

#[test]
fn iperf3() {
    on_a_lan(&IPERF, |a, b| {
        let _server = a.start("iperf3", a.with("iperf3 -s --forceflush"));
        let tests = Cell::new(0);
        let measured = |options: &str| {
            tests.set(tests.get() + 1);
            measure(b, a, tests.get(), options)
        };
        for (options, megabytes) in [
            ("-n 64M", 64.0),
            ("-n 64M -R", 64.0),
            ("-n 64M -P 4 -w 128K", 64.0),
        ] {
            let report = measured(options);
            for end in ["sent", "received"] {
                let bytes = number(&report, &format!("/end/sum_{end}/bytes"));
                // What is still in the pipe when the sender has ended is not counted.
                assert!(
                    bytes > megabytes * 0.75 * 1_048_576.0,
                    "{options}: {report:#}"
                );
            }
        }
        // By time, not by bytes: a receiver that waits for a number of bytes waits for lost ones too.
        for options in ["-u -b 5M -t 1", "-u -b 5M -t 1 -R"] {
            let report = measured(options);
            let lost = number(&report, "/end/sum/lost_percent");
            let packets = number(&report, "/end/sum/packets");
            assert!(packets > 100.0 && lost < 50.0, "{options}: {report:#}");
        }
    });
}
