//! The command line: what can be said, not what it does.

pub(crate) mod controller;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};

use controller::{ControllerUrl, Token};
use values::{Launch, Pool, Port, Restart, Seconds, Volume};

const EXAMPLES: &str = "\
Examples:
  zt-run lan create home                        a LAN of one's own
  zt-run --network home --name web -d nginx     a container on it, detached
  zt-run --network home IMAGE curl http://ADDR/ a program on it, attached
  zt-run --network 8056c2e21c000001 IMAGE       any ZeroTier network, by its id
  zt-run ps                                     who is where";

const SIGNALS: &str = "\
Ctrl-C and other signals go to the program; the third Ctrl-C within 2 s kills it.
With -it, Ctrl-C is a key of the program's own terminal.";

/// Runs unmodified containers on a ZeroTier LAN.
#[derive(Debug, Parser)]
#[command(name = "zt-run", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(
    override_usage = "zt-run [OPTIONS] --network NETWORK IMAGE [COMMAND]...\n       zt-run [OPTIONS] COMMAND"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The engine: unix:///PATH or tcp://ADDRESS:PORT
    #[arg(
        short = 'H',
        long,
        global = true,
        env = "DOCKER_HOST",
        value_name = "URL",
        hide_env_values = true
    )]
    pub host: Option<String>,
    /// Say nothing but the result
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a container on a LAN (the word `run` may be left out)
    #[command(
        override_usage = "zt-run [run] [OPTIONS] --network NETWORK IMAGE [COMMAND]...",
        after_help = SIGNALS
    )]
    Run(Box<Run>),
    /// Make, list and remove LANs of one's own
    #[command(subcommand)]
    Lan(Lan),
    /// List the containers on LANs: name, status, address, path
    Ps,
    /// Stop containers and their sidecars; the identities are kept
    Stop {
        /// Names of containers
        #[arg(required = true)]
        names: Vec<String>,
        /// How long a program may take to end before it is killed
        #[arg(short, long, default_value = "10", value_name = "SECONDS")]
        time: Seconds,
    },
    /// Start stopped containers again, with the addresses that they had
    Start {
        /// Names of containers
        #[arg(required = true)]
        names: Vec<String>,
        /// How long to wait for the address
        #[arg(long, default_value = "60", value_name = "SECONDS")]
        timeout: Seconds,
    },
    /// Remove containers, their sidecars and identities
    Rm {
        /// Names of containers
        #[arg(required = true)]
        names: Vec<String>,
        /// Remove running ones, too
        #[arg(short, long)]
        force: bool,
    },
    /// Load the sidecar image into the engine, for compose files, and print its name
    BuildSidecar {
        /// The name to give to the image
        #[arg(
            short,
            long,
            default_value = "zt-sidecar:latest",
            value_name = "NAME[:TAG]"
        )]
        tag: String,
    },
    /// Print the versions of this tool and of the engine
    Version,
}

/// `zt-run run`
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("secret").args(["token_file", "token"]).multiple(true)))]
pub(crate) struct Run {
    /// The LAN's name, or a network id of 16 hex digits
    #[arg(
        long,
        value_name = "NETWORK",
        env = "ZT_NETWORK",
        hide_env_values = true
    )]
    pub network: String,
    /// The container's name; without --hostname the LAN finds it as NAME.local
    #[arg(long)]
    pub name: Option<String>,
    /// Do not wait for the program: print its address and return
    #[arg(short, long)]
    pub detach: bool,
    /// Keep nothing when the program has ended (attached programs never leave anything)
    #[arg(long)]
    pub rm: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set a variable; without a value it is taken from here
    #[arg(short, long = "env", value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Mount a volume or a directory
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]")]
    pub volume: Vec<Volume>,
    /// Publish a port on the engine's host, too
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT[/udp]")]
    pub publish: Vec<Port>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Start this program instead of the image's
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// The container's host name; the LAN finds it as NAME.local
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Mount the root of the container read-only
    #[arg(long)]
    pub read_only: bool,
    /// Also be on this network of the engine, as in `docker run --network`
    #[arg(long, value_name = "NAME")]
    pub docker_network: Option<String>,
    /// When to start again: no, on-failure, on-failure:N, always, unless-stopped
    #[arg(
        long,
        value_name = "POLICY",
        requires = "detach",
        conflicts_with = "rm"
    )]
    pub restart: Option<Restart>,
    /// Everything but loopback goes to the LAN, nothing to the ordinary network
    #[arg(long)]
    pub isolated: bool,
    /// Run the program by zt-launch, not by the preload library: auto (what the library cannot reach: static programs,
    /// Go), always, never
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = true
    )]
    pub launch: Launch,
    /// How long to wait for the address
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    pub timeout: Seconds,
    /// The control API of the network's controller, to be let in by itself (with --token-file)
    #[arg(
        long,
        value_name = "http://ADDRESS:PORT",
        env = "ZT_CONTROLLER",
        hide_env_values = true,
        requires = "secret"
    )]
    pub controller: Option<ControllerUrl>,
    /// Read the token of that API from a file (the controller's authtoken.secret)
    #[arg(long, value_name = "FILE", requires = "controller")]
    pub token_file: Option<PathBuf>,
    /// The token itself; on a command line every user of this machine can see it
    #[arg(long, value_name = "TOKEN", env = "ZT_TOKEN", hide_env_values = true)]
    pub token: Option<Token>,
    /// Send the token to a public address, too: unencrypted, for all on the way to read
    #[arg(long, requires = "controller")]
    pub token_in_clear: bool,
    /// The image, and the program with its arguments instead of the image's own
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"], num_args = 1..)]
    pub image_and_command: Vec<String>,
}

/// `zt-run lan`
#[derive(Debug, Subcommand)]
pub(crate) enum Lan {
    /// Make a LAN: one small container that is its root and controller
    Create {
        /// The LAN's name
        name: String,
        /// The addresses to give out [default: a 10.147.x.0/24]
        #[arg(long, value_name = "CIDR")]
        pool: Option<Pool>,
        /// Let everybody in who knows the network id
        #[arg(long)]
        public: bool,
        /// Publish the root's UDP port on the engine's host, for members on other machines
        #[arg(short, long, value_name = "PORT")]
        port: Option<u16>,
    },
    /// List the LANs
    Ls,
    /// Let members in that did not come by zt-run: those of compose files, other machines, stock nodes
    Authorize {
        /// The LAN's name
        name: String,
        /// Addresses of members, 10 hex digits
        #[arg(required = true, value_name = "ADDRESS")]
        members: Vec<String>,
    },
    /// Remove a LAN
    Rm {
        /// The LAN's name
        name: String,
        /// Even if containers are on it
        #[arg(short, long)]
        force: bool,
    },
}

/// The words that are commands; anything else in their place belongs to `run`.
const COMMANDS: [&str; 9] = [
    "run",
    "lan",
    "ps",
    "stop",
    "start",
    "rm",
    "build-sidecar",
    "version",
    "help",
];

/// Inserts the word `run` where it was left out: `zt-run --network home IMAGE` means `zt-run run --network home IMAGE`.
pub(crate) fn with_run(mut arguments: Vec<String>) -> Vec<String> {
    let mut index = 1;
    while let Some(argument) = arguments.get(index) {
        match argument.as_str() {
            "-q" | "--quiet" | "--json" => index += 1,
            "-H" | "--host" => index += 2,
            word if word.starts_with("--host=") || (word.starts_with("-H") && word.len() > 2) => {
                index += 1
            }
            "-h" | "--help" | "-V" | "--version" => return arguments,
            word if COMMANDS.contains(&word) => return arguments,
            _ => {
                arguments.insert(index, "run".to_owned());
                return arguments;
            }
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(with_run(
            line.split_whitespace().map(str::to_owned).collect(),
        ))
    }

    fn run(line: &str) -> Run {
        match parse(line).unwrap().command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_words_that_are_commands_are_those_of_the_definition() {
        let definition = Cli::command();
        let mut defined: Vec<&str> = definition
            .get_subcommands()
            .map(clap::Command::get_name)
            .chain(["help"])
            .collect();
        let mut known = COMMANDS.to_vec();
        defined.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, defined);
    }

    #[test]
    fn the_word_run_may_be_left_out() {
        for line in [
            "zt-run --network home nginx",
            "zt-run run --network home nginx",
            "zt-run -q -H unix:///x --network home nginx",
        ] {
            assert_eq!(run(line).image_and_command, ["nginx"], "{line}");
        }
        assert!(matches!(
            parse("zt-run --json ps").unwrap().command,
            Command::Ps
        ));
        assert!(matches!(
            parse("zt-run lan ls").unwrap().command,
            Command::Lan(Lan::Ls)
        ));
    }

    #[test]
    fn options_after_the_image_belong_to_the_program() {
        let run = run("zt-run --network home -d img curl -s -d x --network y http://a/");
        assert!(run.detach);
        assert_eq!(run.network, "home");
        assert_eq!(
            run.image_and_command,
            [
                "img",
                "curl",
                "-s",
                "-d",
                "x",
                "--network",
                "y",
                "http://a/"
            ]
        );
    }

    #[test]
    fn short_options_combine() {
        let run = run("zt-run -it --rm --network home img sh");
        assert!(run.interactive && run.tty && run.rm && !run.detach);
    }

    #[test]
    fn unknown_options_are_refused_by_name() {
        assert!(
            parse("zt-run --network home --privileged img")
                .unwrap_err()
                .to_string()
                .contains("--privileged")
        );
    }

    #[test]
    fn a_network_and_an_image_are_needed() {
        assert!(
            parse("zt-run --network home")
                .unwrap_err()
                .to_string()
                .contains("IMAGE")
        );
        assert!(
            parse("zt-run img")
                .unwrap_err()
                .to_string()
                .contains("--network")
        );
        assert!(
            parse("zt-run --network home --restart always img")
                .unwrap_err()
                .to_string()
                .contains("--detach")
        );
    }
}
