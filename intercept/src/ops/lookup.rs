//! Names that the service looks up: those under `.local`, those of the network's domain, and those of LAN addresses.
//!
//! Every other name is the C library's own affair. So is one that the service does not know, in split mode: it may be in
//! the container's hosts file.

use core::net::IpAddr;

use zt_socket_rpc::linux::{EINVAL, ENOENT, ENOTCONN};
use zt_socket_rpc::{Addresses, DnsMessage, HostName, Reply, Request};

use crate::kernel::{Errno, Kernel};
use crate::lan::{Lan, Mode};
use crate::outcome::Step;
use crate::{Outcome, Program, Reason};

/// How long the service may take to find a name: longer than it waits for others.
const PATIENCE_MS: i32 = 15_000;

impl<K: Kernel> Program<'_, K> {
    /// The addresses of a name.
    pub fn resolve(&self, name: &[u8], v4: bool, v6: bool) -> Outcome<Addresses> {
        let look_up = || -> Step<Addresses> {
            let name = self.name_for_service(name)?;
            match self.look_up(&Request::Resolve { name, v4, v6 })? {
                Reply::Addresses(addresses) => Ok(addresses),
                _ => Err(Errno(ENOTCONN).into()),
            }
        };
        look_up().into()
    }

    /// The name of an address.
    pub fn name_of(&self, address: IpAddr) -> Outcome<HostName> {
        let look_up = || -> Step<HostName> {
            match self.lan() {
                Lan::Up(table) if table.routes_to(address) => {}
                Lan::Up(_) => return Err(Reason::NotOnTheLan.into()),
                Lan::Away(_) => return Err(Reason::ServiceAway.into()),
            }
            match self.look_up(&Request::NameOf { address })? {
                Reply::NameOf(name) => Ok(name),
                _ => Err(Errno(ENOTCONN).into()),
            }
        };
        look_up().into()
    }

    /// The records of a name, as a DNS message.
    pub fn records(&self, name: &[u8], kind: u16) -> Outcome<DnsMessage> {
        let look_up = || -> Step<DnsMessage> {
            let name = self.name_for_service(name)?;
            match self.look_up(&Request::Records { name, kind })? {
                Reply::Message(message) => Ok(message),
                _ => Err(Errno(ENOTCONN).into()),
            }
        };
        look_up().into()
    }

    fn name_for_service(&self, name: &[u8]) -> Step<HostName> {
        let name = HostName::new(name).ok_or(Reason::NotAName)?;
        let text = name.as_bytes();
        let text = text.strip_suffix(b".").unwrap_or(text);
        let lan = if is_within(text, b"local") {
            self.lan_at_start()
        } else {
            self.lan()
        };
        let Lan::Up(table) = lan else {
            return Err(Reason::ServiceAway.into());
        };
        let is_reverse = is_within(text, b"in-addr.arpa") || is_within(text, b"ip6.arpa");
        let domain = table.interface().and_then(|interface| interface.domain);
        let is_ours = is_within(text, b"local")
            || is_reverse
            || domain.is_some_and(|domain| is_within(text, domain.as_bytes()));
        if is_ours {
            Ok(name)
        } else {
            Err(Reason::NotAName.into())
        }
    }

    fn look_up(&self, request: &Request) -> Step<Reply> {
        let (reply, descriptor) = self
            .exchange_within(request, &[], PATIENCE_MS)
            .map_err(|_| Reason::ServiceAway)?;
        self.close_all(&[descriptor]);
        match reply {
            Reply::Failed { errno: ENOENT } if self.settings.mode() == Mode::Split => {
                Err(Reason::NotAName.into())
            }
            // Not one that the service looks up: in no mode.
            Reply::Failed { errno: EINVAL } => Err(Reason::NotAName.into()),
            Reply::Failed { errno } => Err(Errno(errno).into()),
            reply => Ok(reply),
        }
    }
}

/// Whether a name is a domain or below it.
fn is_within(name: &[u8], domain: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    let (host, end) = name.split_at(start);
    end.eq_ignore_ascii_case(domain) && (host.is_empty() || host.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_within_its_domain_whatever_its_case() {
        for (name, domain, inside) in [
            ("web.local", "local", true),
            ("Web.LOCAL", "local", true),
            ("local", "local", true),
            ("weblocal", "local", false),
            ("local.example", "local", false),
            ("a.corp.example", "corp.example", true),
            ("xcorp.example", "corp.example", false),
        ] {
            let found = is_within(name.as_bytes(), domain.as_bytes());
            assert_eq!(found, inside, "{name}");
        }
    }
}
