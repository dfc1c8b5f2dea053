//! Real programs, as Debian packages them, doing what their users do with them: on the LAN, between two hosts.
//!
//! Each application is one test case. What it shows is a row of the table in `doc/compatibility.md`; a row that says
//! anything else than the case does fails it. `make compatibility` writes the rows anew, with the versions of the day.

mod catalogue;
mod databases;
mod go;
mod httpd;
mod java;
mod network;
mod nginx;
mod node;
mod proxies;
mod python;
mod site;
mod ssh;
mod table;
mod tools;
mod unpackaged;
