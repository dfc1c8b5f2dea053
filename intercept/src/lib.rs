//! What an intercepted program's socket calls do.
//!
//! The operations here are ordinary safe code over a small trait, [`Kernel`]: "make this system call". The preload
//! library (`intercept/preload`, the cdylib `libztintercept.so`) puts C hooks in front of them and implements the trait
//! with raw system calls. Each operation answers with an [`Outcome`]: it is done, it failed with an errno, or the
//! kernel's own call is to be used, and why.
//!
//! # Native first
//! A socket starts as the kernel's own. So every option, flag and error before the decision is the kernel's, and there
//! is nothing to remember. The decision falls
//! - at `connect`: the destination is inside a prefix that the service publishes, or not;
//! - at `bind`: the address is the service's own on the LAN (then the socket is on the LAN only), or a wildcard that the
//!   kernel refuses with `EACCES` (a privileged port: then the port is served on the LAN only);
//! - at `listen`: a socket on the wildcard address listens on both; its kernel socket is handed to the service;
//! - for UDP, at the first `connect` or send to a LAN destination, and at `bind`: to an address of the LAN (then on the
//!   LAN only), or to the wildcard address, which serves both: its kernel socket is handed to the service.
//!
//! Then one end of a Unix pair takes the descriptor's place (module `swap`), with its flags, time-outs, buffer sizes and
//! epoll registrations. From then on the descriptor is recognised by the abstract name of its peer ([`own`]): there is
//! no table of descriptors in the process, and `fork`, `exec` and `dup` need no care.
//!
//! In isolated mode the LAN takes everything but loopback addresses; a wildcard listener is on the LAN and on loopback:
//! its kernel socket is bound to the loopback interface.
//!
//! Names under `.local`, in the network's domain and of LAN addresses are looked up by the service (module `ops::lookup`).
//!
//! # When the service is away
//! A LAN destination fails with `ENETUNREACH`; binding to a LAN address is the kernel's `EADDRNOTAVAIL`; listeners and
//! all other destinations are the kernel's own. Connections are reset. A listener goes over to the next instance of the
//! service at the first `accept` that finds it (module `home`). A program that starts together with its service waits for it a few
//! seconds, once ([`lan`]).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod control;
mod hints;
mod home;
pub mod kernel;
pub mod lan;
mod native;
mod ops;
mod outcome;
pub mod own;
pub mod registrations;
pub mod sockaddr;
mod swap;
mod untouched;

pub use hints::Hints;
pub use kernel::{Errno, Fd, Kernel};
pub use lan::{LanState, Mode, Settings};
pub use ops::accept::Connection;
pub use ops::options::{OptionAnswer, is_interesting};
pub use ops::{frames, interface, receive, send};
pub use outcome::{Outcome, Reason};
pub use registrations::Registrations;
pub use sockaddr::SockAddr;
pub use untouched::NewSockets;

/// One program as the operations see it: its system calls, its settings, and what the process remembers.
#[derive(Clone, Copy)]
pub struct Program<'a, K> {
    /// System calls.
    pub kernel: &'a K,
    /// From the environment.
    pub settings: &'a Settings,
    /// What is known of the service.
    pub lan: &'a LanState,
    /// Epoll registrations of sockets that may still be swapped.
    pub registrations: &'a Registrations,
    /// Descriptors that may be listeners of ours.
    pub listeners: &'a Hints,
    /// Descriptors that may be datagram sockets of ours, or connections with the buffer of their attempt.
    pub datagrams: &'a Hints,
    /// What new sockets have.
    pub new_sockets: &'a NewSockets,
}
