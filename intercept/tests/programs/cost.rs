//! What the library costs a call that it has nothing to do with.

use std::collections::BTreeMap;
use std::process::Command;

use crate::build::{Libc, Scratch, assert_success, command, compile, library};
use crate::stand_in::StandIn;

/// What one use of a call takes.
struct Cost {
    instructions: u64,
    system_calls: u64,
}

/// Steps through one use of each call (`c/cost.c`).
fn costs(mut program: Command) -> BTreeMap<String, Cost> {
    let output = program.output().unwrap();
    assert_success(&output, "cost");
    let text = String::from_utf8_lossy(&output.stdout);
    let counted = text.lines().map(|line| {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap().to_owned();
        let mut number = || fields.next().unwrap().parse().unwrap();
        let cost = Cost {
            instructions: number(),
            system_calls: number(),
        };
        (name, cost)
    });
    counted.collect()
}

/// A slow clock of 3 GHz and three instructions a cycle: 5 ns.
const INSTRUCTIONS: u64 = 45;

#[test]
fn an_inert_call_is_a_few_instructions_and_no_system_call_longer() {
    for libc in Libc::ALL {
        let scratch = Scratch::new();
        let program = compile("cost", libc, scratch.path());
        let plain = costs(command(&program, None));
        let mut loaded = command(&program, None);
        loaded.env("LD_PRELOAD", library());
        let loaded = costs(loaded);
        assert_eq!(plain.len(), loaded.len());
        for (call, plain) in &plain {
            let loaded = &loaded[call];
            assert_eq!(plain.system_calls, loaded.system_calls, "{libc:?}: {call}");
            let more = loaded.instructions.saturating_sub(plain.instructions);
            assert!(more <= INSTRUCTIONS, "{libc:?}: {call}: {more} more");
        }
    }
}

#[test]
fn a_foreign_descriptor_is_recognised_by_one_system_call_at_most() {
    for libc in Libc::ALL {
        let scratch = Scratch::new();
        let service = StandIn::start(scratch.path()).unwrap();
        let program = compile("cost", libc, scratch.path());
        let plain = costs(command(&program, None));
        let loaded = costs(command(&program, Some(service.path())));
        assert_eq!(plain.len(), loaded.len());
        for (call, plain) in &plain {
            let more = loaded[call].system_calls - plain.system_calls;
            // What carries data and succeeds is the kernel's own call and nothing else, and so is what has no hook.
            let carries = ["read of", "recv", "write", "send", "preadv2", "getppid"];
            let carries = carries.iter().any(|data| call.starts_with(data));
            assert!(more <= u64::from(!carries), "{libc:?}: {call}: {more} more");
        }
    }
}

#[test]
fn an_inert_call_costs_nothing_to_speak_of() {
    for libc in Libc::ALL {
        let scratch = Scratch::new();
        let program = compile("inert", libc, scratch.path());
        let cost = |environment: &[(&str, &str)]| -> f64 {
            let output = Command::new(&program)
                .envs(environment.iter().copied())
                .output()
                .unwrap();
            assert_success(&output, "inert");
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .unwrap()
        };
        // The best of many short runs, taken in turn: neighbours on the machine disturb both alike.
        let (mut plain, mut loaded) = (f64::MAX, f64::MAX);
        for _ in 0..60 {
            plain = plain.min(cost(&[]));
            loaded = loaded.min(cost(&[("LD_PRELOAD", library().to_str().unwrap())]));
        }
        // A quiet machine shows 1 or 2 ns.
        assert!(
            loaded - plain < 20.0,
            "{libc:?}: {plain} ns a call without, {loaded} ns with the library"
        );
    }
}
