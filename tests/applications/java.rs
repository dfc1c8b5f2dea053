//! Java: the web server and the web client of its own library.

use crate::catalogue::JAVA;
use crate::site::{on_a_lan, prints};
use zt_tests::program;

#[test]
fn java() {
    on_a_lan(&JAVA, |a, b| {
        let program = program("Web.java");
        let program = format!("java -XX:TieredStopAtLevel=1 {}", program.display());
        let server = a.start("java", a.with(&format!("{program} server 8080")));
        prints(&server, "listening");
        let said = b.say(&format!("{program} client http://{}:8080/", a.address()));
        let expected = format!(
            "100 answers: GET of {}\nposted 4194304 bytes: equal\nrefused: java.net.ConnectException\n",
            b.address()
        );
        assert_eq!(said, expected);
        b.ab(a, "8080/", 500);
    });
}
