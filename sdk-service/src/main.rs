//! One program under three names: the service, `zerotier-cli` and `zerotier-idtool`.
//!
//! The name that it was called by decides, or `-q` and `-i` as the first argument, as in
//! zerotier-one.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use sdk_service::{cli, idtool, service};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments
        .next()
        .unwrap_or_else(|| "zerotier-sdk-service".to_owned());
    let arguments: Vec<String> = arguments.collect();
    // The name alone: directories may be called anything.
    let name = program.rsplit('/').next().unwrap_or_default();
    match arguments.split_first() {
        _ if name.contains("zerotier-cli") => cli::run(&program, &arguments),
        _ if name.contains("zerotier-idtool") => idtool::run(&program, &arguments),
        Some((first, rest)) if first == "-q" => cli::run(&program, rest),
        Some((first, rest)) if first == "-i" => idtool::run(&program, rest),
        _ => service::run(&program, &arguments),
    }
}
