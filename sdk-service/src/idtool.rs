//! `zerotier-idtool`: makes and checks identities, signs files, makes planets.
//!
//! The commands that zerotier-one has too behave as there (VL2 §6.6); `makeplanet` is ours. The
//! tool works on files and never talks to a service.

mod makeplanet;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use getrandom::SysRng;
use zt_protocol::rand_core::UnwrapErr;
use zt_protocol::wire::{from_hex, to_hex};
use zt_protocol::{Identity, SecretIdentity};

use crate::home::write_atomically;

/// What a call prints and whether it succeeded.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code 0 or 1.
    pub success: bool,
}

impl Outcome {
    fn done(stdout: impl Into<String>) -> Self {
        Self {
            stdout: stdout.into(),
            stderr: String::new(),
            success: true,
        }
    }

    fn failed(stderr: impl Into<String>) -> Self {
        Self {
            stdout: String::new(),
            stderr: stderr.into(),
            success: false,
        }
    }
}

/// Runs `zerotier-idtool` with the arguments after the program's name.
pub fn run(program: &str, arguments: &[String]) -> ExitCode {
    let outcome = execute(program, arguments);
    let _ = std::io::stdout().write_all(outcome.stdout.as_bytes());
    let _ = std::io::stderr().write_all(outcome.stderr.as_bytes());
    if outcome.success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Carries out one command.
pub fn execute(program: &str, arguments: &[String]) -> Outcome {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["generate", files @ ..] if files.len() <= 3 => generate(files),
        ["validate", identity] => validate(identity),
        ["getpublic", identity] => {
            read_identity::<Identity>(identity).map(|identity| Outcome::done(identity.to_string()))
        }
        ["sign", identity, file] => sign(identity, file),
        ["verify", identity, file, signature] => verify(identity, file, signature),
        ["makeplanet", rest @ ..] => makeplanet::run(rest),
        _ => Err(help(program)),
    };
    result.unwrap_or_else(Outcome::failed)
}

fn help(program: &str) -> String {
    format!(
        "\
zerotier-idtool {}: makes and checks identities

Usage: {program} COMMAND ARGUMENT...

  generate [SECRET [PUBLIC [PREFIX]]]   make an identity; PREFIX: hexadecimal digits its address begins with
  validate IDENTITY                     check the address against the key
  getpublic IDENTITY                    print it without its private key
  sign SECRET FILE                      print a signature of the file
  verify IDENTITY FILE SIGNATURE        check a signature
  makeplanet FILE KEY IDENTITY ADDRESS/PORT[,ADDRESS/PORT]... [IDENTITY ...]...
                                        write a planet of your own: up to four roots, each with the
                                        endpoints it answers at. KEY signs this planet and the next
                                        ones; it is made if it does not exist. Keep it.

IDENTITY and SECRET are file names or the text itself.
",
        crate::VERSION
    )
}

fn generate(files: &[&str]) -> Result<Outcome, String> {
    let prefix = files
        .get(2)
        .copied()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if prefix.len() > 10 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!(
            "\"{prefix}\" cannot begin an address: at most ten hexadecimal digits\n"
        ));
    }
    if prefix.starts_with("ff") {
        return Err("no address begins with ff\n".to_owned());
    }
    let identity = loop {
        let identity = SecretIdentity::generate(&mut UnwrapErr(SysRng));
        if identity.address().to_string().starts_with(&prefix) {
            break identity;
        }
    };
    let Some(secret_file) = files.first() else {
        return Ok(Outcome::done(identity.to_secret_text().as_str()));
    };
    let mut done = write(secret_file, identity.to_secret_text().as_bytes(), 0o600)?;
    if let Some(public_file) = files.get(1) {
        done += &write(public_file, identity.public().to_string().as_bytes(), 0o644)?;
    }
    Ok(Outcome::done(done))
}

fn write(file: &str, content: &[u8], mode: u32) -> Result<String, String> {
    write_atomically(Path::new(file), content, mode)
        .map_err(|error| format!("cannot write {file}: {error}\n"))?;
    Ok(format!("{file} written\n"))
}

fn validate(argument: &str) -> Result<Outcome, String> {
    // A secret identity must fit together as a whole.
    let valid = match read_identity::<SecretIdentity>(argument) {
        Ok(identity) => identity.validate(),
        Err(_) => read_identity::<Identity>(argument)?.validate(),
    };
    if valid {
        Ok(Outcome::done(format!("{argument} is a valid identity\n")))
    } else {
        Err(format!("{argument} FAILED validation.\n"))
    }
}

fn sign(identity: &str, file: &str) -> Result<Outcome, String> {
    let identity: SecretIdentity = read_identity(identity)?;
    Ok(Outcome::done(to_hex(&identity.sign(&read(file)?))))
}

fn verify(identity: &str, file: &str, signature: &str) -> Result<Outcome, String> {
    let identity: Identity = read_identity(identity)?;
    let signature = match from_hex(signature) {
        Some(signature) => Some(signature),
        None => std::fs::read_to_string(signature)
            .ok()
            .and_then(|text| from_hex(text.trim())),
    };
    match signature {
        Some(signature) if identity.verify(&read(file)?, &signature) => {
            Ok(Outcome::done(format!("{file} signature valid\n")))
        }
        _ => Err(format!("{file} signature check FAILED\n")),
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}\n"))
}

/// An identity from its text, which is known by the colon behind the address, or from a file.
fn read_identity<T: std::str::FromStr>(argument: &str) -> Result<T, String> {
    let unreadable = || format!("Identity argument invalid or file unreadable: {argument}\n");
    if argument.len() > 32 && argument.as_bytes().get(10) == Some(&b':') {
        return argument.parse().map_err(|_| unreadable());
    }
    let text = std::fs::read_to_string(argument).map_err(|_| unreadable())?;
    text.parse().map_err(|_| unreadable())
}

#[cfg(test)]
mod tests;
