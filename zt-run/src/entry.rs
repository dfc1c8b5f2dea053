//! Finds the program that a container would start, through the engine, and says how the LAN gets into it.

use std::io::Read;

use anyhow::{Result, bail};
use bollard::{
    Docker,
    query_parameters::{ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder},
};
use futures_util::StreamExt;

use crate::{
    cli::values::Launch,
    elf::{self, Program},
    engine::{failed, is_missing, status},
    failure::Failure,
};

/// How the LAN gets into a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The library by `/etc/ld.so.preload`: set-uid programs and programs with an empty environment too.
    File,
    /// The library by `LD_PRELOAD`: the only way for musl, and for containers whose root cannot be written.
    Environment,
    /// Run by `zt-launch`: programs that make their system calls by themselves.
    Launcher,
}

/// How many scripts may call one another before a program comes.
const MAX_SCRIPTS: usize = 5;
/// How many symbolic links are followed in a row. The engine resolves whole chains, so one is the rule.
const MAX_LINKS: usize = 8;
/// Programs that only start and reap another one; what counts is the other one.
const INITS: [&str; 5] = [
    "tini",
    "tini-static",
    "dumb-init",
    "catatonit",
    "docker-init",
];
/// Go's `os.ModeDir` in the engine's answers.
const MODE_DIRECTORY: u32 = 1 << 31;
/// Go's `os.ModeSymlink`.
const MODE_LINK: u32 = 1 << 27;

/// Where the search looks.
pub(crate) struct Entry<'a> {
    docker: &'a Docker,
    /// The created, not started container.
    container: &'a str,
    /// `PATH` of the program.
    path: &'a str,
    /// Its working directory.
    directory: &'a str,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(
        docker: &'a Docker,
        container: &'a str,
        path: &'a str,
        directory: &'a str,
    ) -> Self {
        Self {
            docker,
            container,
            path,
            directory,
        }
    }

    /// Decides about the command line. Without the launcher, programs that need it are refused with the reason.
    pub(crate) async fn reach(&self, command: &[String], launch: Launch) -> Result<Reach> {
        let mut words: Vec<String> = command.to_vec();
        let mut called: Option<String> = None;
        for _ in 0..MAX_SCRIPTS {
            let Some(first) = words.first().filter(|word| !word.is_empty()) else {
                bail!("the image has no program to start: give one after the image's name");
            };
            let file = self.find(first, called.as_deref()).await?;
            match elf::classify(&self.beginning(&file).await?) {
                Program::Script(interpreter, argument) => {
                    called = Some(file.clone());
                    words = interpreted(&interpreter, argument.as_deref(), &file);
                }
                Program::Static if is_init(&file) => words = after_init(&words),
                Program::Glibc | Program::Musl if launch == Launch::Always => {
                    return Ok(Reach::Launcher);
                }
                Program::Glibc => return Ok(Reach::File),
                Program::Musl => return Ok(Reach::Environment),
                Program::Static if launch == Launch::Never => {
                    let reason = "is statically linked: it makes its system calls by itself, so it would bypass the LAN";
                    return Err(refused(&file, reason).into());
                }
                Program::Go if launch == Launch::Never => {
                    let reason = "is a Go program: Go makes its system calls by itself, so it would bypass the LAN";
                    return Err(refused(&file, reason).into());
                }
                Program::OtherLoader(loader) if launch == Launch::Never => {
                    let reason = format!(
                        "is loaded by {loader}, which is neither glibc's nor musl's loader"
                    );
                    return Err(refused(&file, &reason).into());
                }
                Program::Static | Program::Go | Program::OtherLoader(_) => {
                    return Ok(Reach::Launcher);
                }
                // The kernel would try, and the engine's error names the file; a shell script without `#!` runs by no engine.
                Program::Unknown => {
                    let message = format!("`{file}` is no program that this kernel can start");
                    return Err(Failure::new(Failure::NOT_RUNNABLE, message).into());
                }
            }
        }
        bail!(
            "`{}` is a script of a script of a script …: too deep",
            command.first().map_or("", String::as_str)
        );
    }

    /// The file that a word of a command line means.
    async fn find(&self, word: &str, called: Option<&str>) -> Result<String> {
        let candidates: Vec<String> = if word.starts_with('/') {
            vec![word.to_owned()]
        } else if word.contains('/') {
            vec![format!("{}/{word}", self.directory.trim_end_matches('/'))]
        } else {
            self.path
                .split(':')
                .map(|dir| format!("{}/{word}", dir.trim_end_matches('/')))
                .collect()
        };
        let mut not_executable = None;
        for candidate in candidates {
            match self.resolve(&candidate).await? {
                Some((file, true)) => return Ok(file),
                Some((file, false)) => not_executable = Some(file),
                None => {}
            }
        }
        let of = called
            .map(|script| format!(", which `{script}` asks for,"))
            .unwrap_or_default();
        Err(match not_executable {
            Some(file) => Failure::new(
                Failure::NOT_RUNNABLE,
                format!("`{file}`{of} is not executable"),
            ),
            None if word.contains('/') => Failure::new(
                Failure::NOT_FOUND,
                format!("`{word}`{of} is not in the image"),
            ),
            None => Failure::new(
                Failure::NOT_FOUND,
                format!(
                    "`{word}`{of} is in no directory of the image's PATH ({})",
                    self.path
                ),
            ),
        }
        .into())
    }

    /// Follows links. `None` if there is no such file; otherwise whether it may be executed.
    async fn resolve(&self, path: &str) -> Result<Option<(String, bool)>> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let options = ContainerArchiveInfoOptionsBuilder::default()
                .path(&path)
                .build();
            let info = match self
                .docker
                .get_container_archive_info(self.container, Some(options))
                .await
            {
                Ok(info) => info,
                // 400: a component of the path is not a directory.
                Err(error) if is_missing(&error) || status(&error) == Some(400) => return Ok(None),
                Err(error) => {
                    return Err(failed(&format!("looking for {path} in the image"), &error));
                }
            };
            if info.file_mode & MODE_DIRECTORY != 0 {
                return Ok(None);
            }
            if info.file_mode & MODE_LINK == 0 {
                return Ok(Some((path, info.file_mode & 0o111 != 0)));
            }
            // The engine resolves the link inside the container's root, so the target is absolute and cannot lead out.
            path = info.link_target;
        }
        Ok(None)
    }

    /// The first bytes of a file, without loading the rest of it.
    async fn beginning(&self, path: &str) -> Result<Vec<u8>> {
        Ok(read(self.docker, self.container, path, elf::PREFIX)
            .await?
            .unwrap_or_default())
    }
}

/// The first `limit` bytes of a regular file in a container, `None` if it is not there.
pub(crate) async fn read(
    docker: &Docker,
    container: &str,
    path: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(path)
        .build();
    let mut stream = std::pin::pin!(docker.download_from_container(container, Some(options)));
    let mut archive = Vec::new();
    // One header, perhaps with an extended header before it.
    while archive.len() < limit + 4096 {
        match stream.next().await {
            Some(Ok(chunk)) => archive.extend_from_slice(&chunk),
            Some(Err(error)) if is_missing(&error) => return Ok(None),
            Some(Err(error)) => {
                return Err(failed(
                    &format!("reading {path} from the container"),
                    &error,
                ));
            }
            None => break,
        }
    }
    Ok(Some(first_file(&archive, limit)))
}

/// The contents of the first regular file of an archive that may be cut off.
fn first_file(archive: &[u8], limit: usize) -> Vec<u8> {
    let mut data = Vec::new();
    if let Ok(mut entries) = tar::Archive::new(archive).entries()
        && let Some(Ok(entry)) = entries.next()
        && entry.header().entry_type().is_file()
    {
        // An error here is the cut; what was read before it counts.
        let _ = entry.take(limit as u64).read_to_end(&mut data);
    }
    data
}

/// The command line that the kernel makes of a script; `env` is looked through.
fn interpreted(interpreter: &str, argument: Option<&str>, script: &str) -> Vec<String> {
    if interpreter.rsplit('/').next() == Some("env") {
        let words = argument.unwrap_or_default().split_whitespace();
        let program = words
            .skip_while(|word| word.starts_with('-') || word.contains('='))
            .map(str::to_owned);
        return program.chain([script.to_owned()]).collect();
    }
    let argument = argument.into_iter().map(str::to_owned);
    std::iter::once(interpreter.to_owned())
        .chain(argument)
        .chain([script.to_owned()])
        .collect()
}

fn is_init(file: &str) -> bool {
    file.rsplit('/')
        .next()
        .is_some_and(|name| INITS.contains(&name))
}

/// What an init would start: the first word that is not one of its options.
fn after_init(words: &[String]) -> Vec<String> {
    words
        .iter()
        .skip(1)
        .skip_while(|word| word.starts_with('-'))
        .cloned()
        .collect()
}

fn refused(file: &str, reason: &str) -> Failure {
    Failure::new(
        Failure::NOT_RUNNABLE,
        format!(
            "`{file}` {reason}\nwithout --launch never, zt-launch would put it there; nothing was started"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn scripts_run_their_interpreter() {
        assert_eq!(
            interpreted("/bin/sh", Some("-e"), "/entry.sh"),
            words("/bin/sh -e /entry.sh")
        );
        assert_eq!(
            interpreted("/usr/bin/env", Some("-S A=1 python3"), "/x.py"),
            words("python3 /x.py")
        );
    }

    #[test]
    fn an_init_is_looked_through() {
        assert!(is_init("/usr/bin/tini-static"));
        assert_eq!(
            after_init(&words("tini -g -- nginx -g x")),
            words("nginx -g x")
        );
        assert!(after_init(&words("tini")).is_empty());
    }

    #[test]
    fn a_cut_archive_gives_what_there_is() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(3000);
        header.set_mode(0o755);
        tar.append_data(&mut header, "prog", [7u8; 3000].as_slice())
            .unwrap();
        let archive = tar.into_inner().unwrap();
        assert_eq!(first_file(&archive, 100).len(), 100);
        assert_eq!(first_file(&archive[..1512], 5000).len(), 1000);
        assert!(first_file(&archive[..300], 5000).is_empty());
    }
}
