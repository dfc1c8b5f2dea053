//! What the first bytes of a program's file say about how it is loaded: can a preload library reach its sockets?
//!
//! Only the ELF header, the program headers, the interpreter path and the notes are read, so a prefix of the file is
//! enough. Any bytes are accepted: what is not understood is [`Program::Unknown`].

use object::{
    Endianness,
    elf::{FileHeader32, FileHeader64, PT_INTERP, PT_NOTE},
    read::elf::{FileHeader, ProgramHeader as _},
};

/// How much of a file [`classify`] wants to see. Interpreter and notes lie in the first pages of every linker's output.
pub(crate) const PREFIX: usize = 1 << 20;

/// What a program's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Loaded by glibc's `ld.so`, which reads `/etc/ld.so.preload`.
    Glibc,
    /// Loaded by musl's loader, which knows only `LD_PRELOAD`.
    Musl,
    /// Loaded by a loader that we do not know.
    OtherLoader(String),
    /// Has no loader: a preload library cannot be put into it.
    Static,
    /// Made by the Go compiler: its runtime makes system calls by itself, with or without a loader.
    Go,
    /// A script: the interpreter, and its optional argument.
    Script(String, Option<String>),
    /// None of these.
    Unknown,
}

/// Reads the beginning of a file.
pub(crate) fn classify(data: &[u8]) -> Program {
    if let Some(rest) = data.strip_prefix(b"#!") {
        return script(rest);
    }
    match data.get(4) {
        Some(2) => FileHeader64::<Endianness>::parse(data)
            .ok()
            .and_then(|header| elf(header, data)),
        Some(1) => FileHeader32::<Endianness>::parse(data)
            .ok()
            .and_then(|header| elf(header, data)),
        _ => None,
    }
    .unwrap_or(Program::Unknown)
}

fn elf<H: FileHeader<Endian = Endianness>>(header: &H, data: &[u8]) -> Option<Program> {
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let go = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_NOTE)
        .any(|segment| {
            let Ok(Some(mut notes)) = segment.notes(endian, data) else {
                return false;
            };
            std::iter::from_fn(|| notes.next().ok().flatten()).any(|note| note.name() == b"Go")
        });
    if go {
        return Some(Program::Go);
    }
    let Some(interpreter) = segments
        .iter()
        .find(|segment| segment.p_type(endian) == PT_INTERP)
    else {
        return Some(Program::Static);
    };
    let path = interpreter.data(endian, data).ok()?;
    let path = String::from_utf8_lossy(path.split(|byte| *byte == 0).next().unwrap_or_default())
        .into_owned();
    let file = path.rsplit('/').next().unwrap_or_default();
    Some(if file.starts_with("ld-musl-") {
        Program::Musl
    } else if file.starts_with("ld-linux")
        || file.starts_with("ld64.so")
        || file.starts_with("ld.so")
    {
        Program::Glibc
    } else {
        Program::OtherLoader(path)
    })
}

/// The kernel's reading of a `#!` line: one interpreter, and at most one argument.
fn script(rest: &[u8]) -> Program {
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line =
        String::from_utf8_lossy(line.get(..line.len().min(255)).unwrap_or_default()).into_owned();
    let line = line.trim_matches([' ', '\t', '\r', '\0']);
    match line.split_once([' ', '\t']) {
        Some((interpreter, argument)) => {
            Program::Script(interpreter.to_owned(), Some(argument.trim().to_owned()))
        }
        None if line.is_empty() => Program::Unknown,
        None => Program::Script(line.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use object::elf::{PT_LOAD, ProgramType};

    use super::*;

    /// A minimal little-endian 64-bit ELF file with the given segments.
    pub(crate) fn elf64(segments: &[(ProgramType, &[u8])]) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([2, 0, 0x3e, 0, 1, 0, 0, 0]);
        file.extend(0u64.to_le_bytes()); // entry
        file.extend(64u64.to_le_bytes()); // program headers
        file.extend(0u64.to_le_bytes()); // section headers
        file.extend(0u32.to_le_bytes());
        file.extend([64, 0, 56, 0]);
        file.extend((segments.len() as u16).to_le_bytes());
        file.extend([0, 0, 0, 0, 0, 0]);
        let mut offset = 64 + 56 * segments.len();
        for (kind, data) in segments {
            file.extend(kind.0.to_le_bytes());
            file.extend(4u32.to_le_bytes());
            for value in [offset, 0, 0, data.len(), data.len(), 4] {
                file.extend((value as u64).to_le_bytes());
            }
            offset += data.len();
        }
        for (_, data) in segments {
            file.extend(*data);
        }
        file
    }

    fn note(name: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        note.extend((name.len() as u32).to_le_bytes());
        note.extend(4u32.to_le_bytes());
        note.extend(4u32.to_le_bytes());
        note.extend(name);
        note.resize(note.len().next_multiple_of(4), 0);
        note.extend([1, 2, 3, 4]);
        note
    }

    #[test]
    fn the_loader_tells_the_libc() {
        assert_eq!(
            classify(&elf64(&[(PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0")])),
            Program::Glibc
        );
        assert_eq!(
            classify(&elf64(&[(PT_INTERP, b"/lib/ld-musl-x86_64.so.1\0")])),
            Program::Musl
        );
        assert_eq!(
            classify(&elf64(&[(PT_INTERP, b"/system/bin/linker64\0")])),
            Program::OtherLoader("/system/bin/linker64".into())
        );
    }

    #[test]
    fn no_loader_is_static() {
        assert_eq!(classify(&elf64(&[(PT_LOAD, b"code")])), Program::Static);
    }

    #[test]
    fn go_is_known_by_its_note_even_with_a_loader() {
        let go = note(b"Go\0\0");
        assert_eq!(classify(&elf64(&[(PT_NOTE, &go)])), Program::Go);
        assert_eq!(
            classify(&elf64(&[
                (PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0"),
                (PT_NOTE, &go)
            ])),
            Program::Go
        );
        let gnu = note(b"GNU\0");
        assert_eq!(
            classify(&elf64(&[
                (PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0"),
                (PT_NOTE, &gnu)
            ])),
            Program::Glibc
        );
    }

    #[test]
    fn scripts_name_their_interpreter() {
        assert_eq!(
            classify(b"#!/bin/sh\necho"),
            Program::Script("/bin/sh".into(), None)
        );
        assert_eq!(
            classify(b"#! /usr/bin/env  python3 -u\n"),
            Program::Script("/usr/bin/env".into(), Some("python3 -u".into()))
        );
        assert_eq!(classify(b"#!\n"), Program::Unknown);
    }

    #[test]
    fn cut_files_are_no_reason_to_panic() {
        let whole = elf64(&[
            (PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0"),
            (PT_NOTE, &note(b"Go\0\0")),
        ]);
        for length in 0..whole.len() {
            let _ = classify(&whole[..length]);
        }
        for index in 0..whole.len() {
            let mut broken = whole.clone();
            broken[index] ^= 0xff;
            let _ = classify(&broken);
        }
    }
}
