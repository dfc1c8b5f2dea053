//! What the tests run: the library as it is shipped, and small C programs for both C libraries.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The preload library, built once a test run by the command that ships it.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let target = target_directory();
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--profile",
                "preload",
                "-p",
                "ztintercept",
                "--target-dir",
            ])
            .arg(&target)
            .current_dir(workspace)
            // The flags of an outer coverage or sanitizer run must not get into the library.
            .env_remove("RUSTFLAGS")
            .output()
            .unwrap();
        assert_success(&built, "cargo build --profile preload -p ztintercept");
        target.join("preload/libztintercept.so")
    })
}

/// The target directory of this very test.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // <target>/<profile>/deps/<test>
    test.ancestors().nth(3).unwrap().to_path_buf()
}

/// A C compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Libc {
    Glibc,
    Musl,
}

impl Libc {
    pub(crate) const ALL: [Self; 2] = [Self::Glibc, Self::Musl];

    const fn compiler(self) -> &'static str {
        match self {
            Self::Glibc => "cc",
            Self::Musl => "musl-gcc",
        }
    }
}

/// Compiles `c/<name>.c` into the directory.
pub(crate) fn compile(name: &str, libc: Libc, directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs/c")
        .join(name)
        .with_extension("c");
    let program = directory.join(format!("{name}-{libc:?}"));
    let compiled = Command::new(libc.compiler())
        // Fortified, so that the `__…_chk` twins are called where the C library has them.
        .args([
            "-O2",
            "-D_FORTIFY_SOURCE=2",
            "-pthread",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
        ])
        .args([&program, &source])
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{} (Debian package musl-tools or gcc): {error}",
                libc.compiler()
            )
        });
    assert_success(&compiled, libc.compiler());
    program
}

/// Runs a program; in the LAN of the service at `network`, if any.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, network: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("ZT_NC_MODE")
        .env_remove("ZT_NC_LOG")
        .env_remove("ZT_NC_NETWORK");
    if let Some(network) = network {
        command
            .env("LD_PRELOAD", library())
            .env("ZT_NC_NETWORK", network);
    }
    command
}

pub(crate) fn assert_success(output: &Output, what: &str) {
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// A directory of its own, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "zt-intercept-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
