//! News of the data plane become files and log lines.
//!
//! One task waits for news as long as the service runs. Whoever has just asked the data plane for
//! a change, and must not answer before it is on disk, settles what waits by itself: the data
//! plane gives its news before its answer.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;

use tracing::{error, info, warn};
use zt_protocol::inet::IpPrefix;
use zt_protocol::vl2::{NetworkStatus, Status};
use zt_protocol::{Address, Emit, NetworkId};

use crate::engine::{EngineEvent, Events};
use crate::home::{self, network_configuration_path};
use crate::keeper::Keeper;
use crate::udp::interfaces::InterfaceAddress;

/// What the service itself must act upon.
#[derive(Debug)]
pub enum Notice {
    /// This host's addresses changed.
    Addresses(Vec<InterfaceAddress>),
    /// Our address belongs to somebody else, says a root.
    Collision,
    /// The data plane has ended.
    Ended,
}

/// Where files go.
#[derive(Debug)]
pub struct Places {
    /// The home directory.
    pub home: PathBuf,
    /// The controller's directory.
    pub controller: PathBuf,
}

/// The stream of news and what was made of it.
#[derive(Debug)]
pub struct News {
    events: RefCell<Events>,
    /// The oldest first.
    notices: RefCell<VecDeque<Notice>>,
    address: Address,
    places: Places,
    keeper: Rc<Keeper>,
    logged: RefCell<BTreeMap<NetworkId, (Status, Vec<IpPrefix>)>>,
}

impl News {
    /// News of the node with this address.
    pub fn new(events: Events, address: Address, places: Places, keeper: Rc<Keeper>) -> Self {
        Self {
            events: RefCell::new(events),
            notices: RefCell::default(),
            address,
            places,
            keeper,
            logged: RefCell::default(),
        }
    }

    /// Deals with everything that waits.
    pub fn settle(&self) {
        loop {
            let event = self.events.borrow_mut().try_recv();
            match event {
                Ok(event) => self.handle(event),
                Err(_) => return,
            }
        }
    }

    /// Deals with news until there is one for the service. May be dropped at any time: nothing
    /// is lost.
    pub async fn next(&self) -> Notice {
        loop {
            if let Some(notice) = self.notices.borrow_mut().pop_front() {
                return notice;
            }
            match poll_fn(|context| self.events.borrow_mut().poll_recv(context)).await {
                Some(event) => self.handle(event),
                None => return Notice::Ended,
            }
        }
    }

    fn handle(&self, event: EngineEvent) {
        match event {
            EngineEvent::Online => info!("online"),
            EngineEvent::Offline => warn!("offline: no root of the planet answers"),
            EngineEvent::NetworkChanged(network) => self.log_network(&network.status),
            EngineEvent::NetworkStored {
                network,
                dictionary,
            } => {
                self.keeper.store(
                    &network_configuration_path(&self.places.home, network),
                    dictionary,
                    0o600,
                );
            }
            EngineEvent::PlanetUpdated(planet) => {
                info!(planet = %format_args!("{:016x}", planet.id()), timestamp = planet.timestamp(), "newer planet");
                self.keeper.store(
                    &self.places.home.join(home::PLANET_FILE),
                    planet.to_bytes(),
                    0o644,
                );
            }
            EngineEvent::ControllerPut { key, record } => {
                match home::record_path(&self.places.controller, &key) {
                    Some(path) => self
                        .keeper
                        .store(&path, record.to_string().into_bytes(), 0o600),
                    None => error!(
                        key,
                        "the controller keeps a record under a key that is none"
                    ),
                }
            }
            EngineEvent::ControllerDelete { key } => {
                if let Some(path) = home::record_path(&self.places.controller, &key) {
                    self.keeper.remove_below(&path, &self.places.controller);
                }
            }
            EngineEvent::IdentityCollision => {
                self.notices.borrow_mut().push_back(Notice::Collision);
            }
            EngineEvent::AddressesChanged(addresses) => {
                let notice = Notice::Addresses(addresses);
                self.notices.borrow_mut().push_back(notice);
            }
        }
    }

    /// Once per change: a network asks its controller again and again.
    fn log_network(&self, status: &NetworkStatus) {
        let network = status.id;
        let now = (status.status, status.addresses.clone());
        if self.logged.borrow().get(&network) == Some(&now) {
            return;
        }
        match status.status {
            Status::Ok => {
                let ips: Vec<String> = status.addresses.iter().map(IpPrefix::to_string).collect();
                info!(%network, name = status.name, ips = ips.join(","), "network ready");
            }
            Status::AccessDenied => warn!(
                %network,
                "the controller {} refuses this node: its administrator must authorise {}",
                network.controller(),
                self.address
            ),
            Status::NotFound => {
                warn!(%network, "the controller {} knows no such network", network.controller())
            }
            status => info!(%network, %status, "network"),
        }
        self.logged.borrow_mut().insert(network, now);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn notices_that_were_put_off_come_in_their_order() {
        let (events_tx, events_rx) = mpsc::unbounded_channel();
        let places = Places {
            home: PathBuf::new(),
            controller: PathBuf::new(),
        };
        let address = "e5d9900be8".parse().unwrap();
        let news = News::new(events_rx, address, places, Rc::default());
        let at = |ip: &str| {
            vec![InterfaceAddress {
                interface: "eth0".to_owned(),
                ip: ip.parse().unwrap(),
                prefix: 24,
            }]
        };
        for ip in ["10.0.0.1", "10.0.0.2"] {
            let event = EngineEvent::AddressesChanged(at(ip));
            events_tx.send(event).unwrap();
        }
        news.settle();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for ip in ["10.0.0.1", "10.0.0.2"] {
            let notice = runtime.block_on(news.next());
            assert!(
                matches!(&notice, Notice::Addresses(addresses) if *addresses == at(ip)),
                "{notice:?}"
            );
        }
    }
}
