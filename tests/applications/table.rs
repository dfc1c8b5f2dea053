//! The table of applications in `doc/compatibility.md`: written by the cases, and checked by them.

use crate::catalogue::ALL;
use std::fs;
use std::process::Command;
use std::time::Duration;
use zt_tests::run;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../doc/compatibility.md");
const BEGIN: &str = "<!-- applications: written by `make compatibility` -->\n";
const END: &str = "<!-- end of applications -->\n";
const HEAD: &str =
    "| program | version | carried by | what was done | result |\n|---|---|---|---|---|\n";
/// Set: the cases write their rows instead of comparing them.
const WRITE: &str = "ZT_WRITE";

/// What puts a program on the LAN.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Library,
    Launcher,
    /// One of the programs this way, the other that way.
    Both,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) name: &'static str,
    /// Prints the version, somewhere in its first lines.
    pub(crate) version: &'static [&'static str],
    pub(crate) way: Way,
    pub(crate) done: &'static str,
    pub(crate) result: &'static str,
}

impl Application {
    /// The row but for its version, which differs from machine to machine.
    fn row(&self, version: &str) -> String {
        let way = match self.way {
            Way::Library => "library",
            Way::Launcher => "zt-launch",
            Way::Both => "both",
        };
        format!(
            "| {} | {version} | {way} | {} | {} |\n",
            self.name, self.done, self.result
        )
    }

    /// The case has shown what the row says.
    ///
    /// # Panics
    /// When the committed row says something else.
    pub(crate) fn shown(&self) {
        let text = fs::read_to_string(FILE).expect("doc/compatibility.md");
        if writes() {
            fs::write(FILE, replaced(&text, self)).expect("doc/compatibility.md");
            return;
        }
        let row = rows(&text)
            .find(|row| name(row) == self.name)
            .unwrap_or_else(|| panic!("{} has no row; run `make compatibility`", self.name));
        let version = row.split(" | ").nth(1).expect("a version");
        assert_eq!(
            format!("{row}\n"),
            self.row(version),
            "run `make compatibility`"
        );
    }
}

fn writes() -> bool {
    std::env::var_os(WRITE).is_some_and(|value| !value.is_empty())
}

fn between(text: &str) -> (usize, usize) {
    let begin = text.find(BEGIN).expect("the beginning of the table") + BEGIN.len();
    let end = text.find(END).expect("the end of the table");
    (begin, end)
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    let (begin, end) = between(text);
    text[begin..end].lines().skip(2)
}

fn name(row: &str) -> &str {
    let name = row.strip_prefix("| ").unwrap_or(row);
    name.split(" | ").next().unwrap_or_default()
}

/// The text with this application's row made anew; the other rows stay, in the order of the catalogue.
fn replaced(text: &str, application: &Application) -> String {
    let (begin, end) = between(text);
    let mut table = HEAD.to_owned();
    for each in ALL {
        if each.name == application.name {
            table += &application.row(&version(application));
        } else if let Some(row) = rows(text).find(|row| name(row) == each.name) {
            table += row;
            table.push('\n');
        }
    }
    format!("{}{table}{}", &text[..begin], &text[end..])
}

/// The first thing that looks like a version in what the program prints.
fn version(application: &Application) -> String {
    let [program, arguments @ ..] = application.version else {
        panic!("{} has no command for its version", application.name);
    };
    // A variable of the environment names a program that is not packaged.
    let program = program.strip_prefix('$').map_or_else(
        || (*program).to_owned(),
        |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set")),
    );
    let mut command = Command::new(program);
    command.args(arguments);
    let output = run(command, Duration::from_secs(10));
    let text = output.stdout + &output.stderr;
    let numbers: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .map(|word| word.trim_start_matches(|c: char| !c.is_ascii_digit()))
        .filter(|word| !word.is_empty())
        .collect();
    let dotted = numbers.iter().find(|number| number.contains('.'));
    dotted
        .or(numbers.first())
        .unwrap_or_else(|| panic!("no version in {text}"))
        .to_string()
}

#[test]
fn the_table_has_a_row_for_each_case_and_no_other() {
    if writes() {
        return;
    }
    let text = fs::read_to_string(FILE).expect("doc/compatibility.md");
    let committed: Vec<&str> = rows(&text).map(name).collect();
    let cases: Vec<&str> = ALL.iter().map(|application| application.name).collect();
    assert_eq!(committed, cases, "run `make compatibility`");
}
