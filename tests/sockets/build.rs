//! The programs of the suite, built once a run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use zt_tests::{build_dir, run};

/// Where the sources are.
pub(crate) fn sources(language: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/sockets/cases")).join(language)
}

/// A folder for what is built, which any user may read: the launched programs run as nobody.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("zt-sockets-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for programs");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        path
    })
}

/// The program of that name, built by `build` at its first use.
pub(crate) fn once(name: &'static str, build: impl FnOnce(&Path)) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = built.entry(name).or_insert_with(|| {
        let path = folder().join(name);
        build(&path);
        path
    });
    path.clone()
}

/// A C compiler and what it links with.
pub(crate) struct Compiler {
    pub(crate) command: &'static str,
    pub(crate) arguments: Vec<OsString>,
}

impl Compiler {
    /// The machine's own.
    pub(crate) fn glibc() -> Self {
        Self {
            command: "cc",
            arguments: vec!["-pthread".into()],
        }
    }

    /// For the C library of Debian 11, which `tests/prepare.sh` has unpacked.
    pub(crate) fn old_glibc() -> Self {
        let root = build_dir().join("debian11");
        assert!(
            root.join("usr/include/stdio.h").exists(),
            "{}: run tests/prepare.sh first",
            root.display()
        );
        let target = run(
            {
                let mut cc = Command::new("cc");
                cc.arg("-dumpmachine");
                cc
            },
            Duration::from_secs(10),
        )
        .expect_ok("cc -dumpmachine");
        let target = target.trim();
        let libraries = root.join("lib").join(target);
        let development = root.join("usr/lib").join(target);
        let loader = libraries.join("ld-2.31.so");
        let arguments = [
            format!("--sysroot={}", root.display()),
            format!("-B{}/", development.display()),
            format!("-L{}", libraries.display()),
            format!("-L{}", development.display()),
            // The library of that time is one of its own.
            "-l:libpthread.so.0".to_owned(),
            format!("-Wl,--dynamic-linker={}", loader.display()),
            format!("-Wl,-rpath,{}", libraries.display()),
        ];
        Self {
            command: "cc",
            arguments: arguments.into_iter().map(OsString::from).collect(),
        }
    }

    pub(crate) fn musl(linking: &'static str) -> Self {
        Self {
            command: "musl-gcc",
            arguments: vec!["-pthread".into(), linking.into()],
        }
    }

    /// Compiles those files of the C folder for which `wanted` holds.
    pub(crate) fn compile(&self, output: &Path, wanted: impl Fn(&str) -> bool) {
        let folder = std::fs::read_dir(sources("c")).expect("the C sources");
        let mut files: Vec<PathBuf> = folder
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.ends_with(".c") && wanted(name))
            })
            .collect();
        // The order of linking is the order of the cases.
        files.sort();
        let mut command = Command::new(self.command);
        command
            // Fortified, so that the `__…_chk` twins are called where the C library has them.
            .args(["-O2", "-D_FORTIFY_SOURCE=2", "-Wall", "-Wextra", "-Werror"])
            .arg("-o")
            .arg(output)
            .args(files)
            .args(&self.arguments);
        let _ = run(command, Duration::from_secs(120)).expect_ok(self.command);
    }
}

/// Builds the cases in Go.
pub(crate) fn go(output: &Path) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(sources("go"))
        .expect("the Go sources")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(output)
        .args(files)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", std::env::temp_dir().join("zt-go-cache"))
        .env("GO111MODULE", "off");
    let _ = run(go, Duration::from_secs(180)).expect_ok("go build");
}

/// The other end of the cases.
pub(crate) fn peer() -> PathBuf {
    once("peer", |output| {
        Compiler::glibc().compile(output, |name| matches!(name, "peer.c" | "support.c"));
    })
}
