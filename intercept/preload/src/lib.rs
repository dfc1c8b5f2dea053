//! `libztintercept.so`: hooks in front of the C library's socket calls.
//!
//! One file for every libc: no std, no dependency, no thread-local storage; its only undefined symbols are
//! `__errno_location`, a weak `dlsym` and `dl_iterate_phdr`, and what the compiler itself calls (`memcpy` and its like). Without
//! `ZT_NC_NETWORK` in the environment every hook is a branch and a jump to the C library's function.
//!
//! A hook ([`hooks`]) turns pointers into slices, asks the operation in `zt_intercept`, and returns its value or sets
//! `errno`. Nothing here allocates, locks or panics; nothing is remembered that `fork` or `exec` could spoil.
#![cfg_attr(panic = "abort", no_std)]
#![deny(unsafe_op_in_unsafe_fn)]

mod elf;
mod environment;
mod frame;
mod hooks;
mod libc;
mod log;
mod message;
mod next;
mod path;
mod process;
mod raw;

/// Reached only by a defect; the program must not go on with a half-done call.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    raw::abort()
}
