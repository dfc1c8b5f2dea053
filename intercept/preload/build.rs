//! Link options of the preload library: nothing of any C library may become a dependency of it.
//!
//! They hold in every profile, but only `--profile preload` (no unwinding, one LTO unit) gives a library that loads:
//! see `src/lib.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for option in [
        "-nostdlib",
        "-nodefaultlibs",
        "-nostartfiles",
        "-Wl,-z,nodelete",
        "-Wl,-soname,libztintercept.so",
    ] {
        println!("cargo:rustc-link-arg-cdylib={option}");
    }
}
