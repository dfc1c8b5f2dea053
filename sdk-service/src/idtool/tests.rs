//! Every command of the tool, with the texts of stock.

use std::fs;

use zt_protocol::World;

use super::*;

const SECRET: &str = include_str!("../../tests/recorded/identity.secret");

fn call(words: &[&str]) -> Outcome {
    execute(
        "zerotier-idtool",
        &words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>(),
    )
}

fn public() -> String {
    SECRET.rsplit_once(':').unwrap().0.to_owned()
}

#[test]
fn generate_writes_the_files_that_are_named() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (secret, public) = (path("identity.secret"), path("identity.public"));
    let outcome = call(&["generate", &secret, &public]);
    assert_eq!(
        outcome,
        Outcome::done(format!("{secret} written\n{public} written\n"))
    );
    assert_eq!(
        call(&["getpublic", &secret]),
        Outcome::done(fs::read_to_string(&public).unwrap())
    );
    assert_eq!(
        call(&["validate", &secret]),
        Outcome::done(format!("{secret} is a valid identity\n"))
    );
    assert_eq!(
        call(&["validate", &public]),
        Outcome::done(format!("{public} is a valid identity\n"))
    );
}

#[test]
fn an_address_cannot_begin_with_anything() {
    for prefix in ["ff", "xy", "01234567890"] {
        assert!(
            !call(&["generate", "/nonexistent/s", "/nonexistent/p", prefix]).success,
            "{prefix}"
        );
    }
}

#[test]
fn an_identity_is_text_or_a_file() {
    assert_eq!(call(&["getpublic", SECRET]), Outcome::done(public()));
    let outcome = call(&["getpublic", "/nonexistent"]);
    assert_eq!(
        outcome,
        Outcome::failed("Identity argument invalid or file unreadable: /nonexistent\n")
    );
}

#[test]
fn a_damaged_identity_fails_validation() {
    let mut damaged = public();
    let last = damaged.pop();
    damaged.push(if last == Some('0') { '1' } else { '0' });
    let outcome = call(&["validate", &damaged]);
    assert_eq!(
        outcome,
        Outcome::failed(format!("{damaged} FAILED validation.\n"))
    );
}

#[test]
fn signatures_verify_only_for_their_file() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (file, other, signature) = (path("file"), path("other"), path("signature"));
    fs::write(&file, "content").unwrap();
    fs::write(&other, "other content").unwrap();
    let signed = call(&["sign", SECRET, &file]);
    assert_eq!(signed.stdout.len(), 192);
    fs::write(&signature, &signed.stdout).unwrap();
    for given in [&signed.stdout, &signature] {
        assert_eq!(
            call(&["verify", &public(), &file, given]),
            Outcome::done(format!("{file} signature valid\n"))
        );
        let outcome = call(&["verify", &public(), &other, given]);
        assert_eq!(
            outcome,
            Outcome::failed(format!("{other} signature check FAILED\n"))
        );
    }
}

#[test]
fn a_planet_is_made_and_renewed_by_its_key_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (planet, key, other_key) = (path("planet"), path("planet.secret"), path("other.secret"));
    let made = call(&[
        "makeplanet",
        &planet,
        &key,
        &public(),
        "192.0.2.1/9993,2001:db8::1/9993",
    ]);
    assert!(made.success, "{made:?}");
    let first = World::parse(&fs::read(&planet).unwrap()).unwrap();
    assert!(first.is_signed_by(first.update_key()));
    assert_eq!(first.roots()[0].identity.to_string(), public());
    assert_eq!(first.roots()[0].endpoints.len(), 2);

    assert!(call(&["makeplanet", &planet, &key, &public(), "192.0.2.2/9993"]).success);
    let second = World::parse(&fs::read(&planet).unwrap()).unwrap();
    first.check_update(&second).unwrap();

    let refused = call(&[
        "makeplanet",
        &planet,
        &other_key,
        &public(),
        "192.0.2.3/9993",
    ]);
    assert!(
        refused.stderr.contains("another key must sign"),
        "{refused:?}"
    );
    assert_eq!(World::parse(&fs::read(&planet).unwrap()).unwrap(), second);
}

#[test]
fn endpoints_and_roots_of_a_planet_are_checked() {
    for words in [
        &["makeplanet"][..],
        &["makeplanet", "/nonexistent/p", "/nonexistent/k"],
        &["makeplanet", "/nonexistent/p", "/nonexistent/k", SECRET],
        &[
            "makeplanet",
            "/nonexistent/p",
            "/nonexistent/k",
            SECRET,
            "192.0.2.1",
        ],
        &[
            "makeplanet",
            "/nonexistent/p",
            "/nonexistent/k",
            SECRET,
            "192.0.2.1/0",
        ],
        &[
            "makeplanet",
            "/nonexistent/p",
            "/nonexistent/k",
            "nobody",
            "192.0.2.1/9993",
        ],
    ] {
        let outcome = call(words);
        assert!(!outcome.success && !outcome.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn no_command_is_help_and_a_failure() {
    let outcome = call(&[]);
    assert!(!outcome.success);
    assert!(outcome.stderr.contains("Usage: zerotier-idtool"));
}
