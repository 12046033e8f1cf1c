//! Where connections come from: what one address may have open, and how fast it may come and send.
//!
//! An address is remembered while it has connections and a minute longer: with the default rates it may do everything
//! again by then. At most two addresses are kept for each connection that may be open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::dues::Meter;
use super::gate::Gate;
use crate::config::RelayConfig;
use crate::forwarded::is_trusted;

/// How long an address without connections is remembered, and how often is looked.
const REMEMBERED: Duration = Duration::from_secs(60);

/// One address.
#[derive(Debug)]
pub(crate) struct Neighbour {
    comes: Gate,
    meter: Meter,
    open: AtomicU32,
    /// When its last connection went, in ms since the start.
    left: AtomicU64,
}

impl Neighbour {
    fn new(config: &RelayConfig) -> Self {
        Self {
            comes: Gate::new(config.address_connects),
            meter: Meter::new(config.address_messages, config.address_kib),
            open: AtomicU32::new(0),
            left: AtomicU64::new(0),
        }
    }

    /// What all its connections pay at.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How many it has.
    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Book {
    neighbours: HashMap<IpAddr, Arc<Neighbour>>,
    looked: Duration,
}

/// All addresses of which something is known.
#[derive(Debug)]
pub(crate) struct Neighbours {
    start: Instant,
    book: Mutex<Book>,
}

/// An open connection from somewhere; dropping it says that it is gone.
#[derive(Debug)]
pub(crate) struct Stay {
    neighbours: Arc<Neighbours>,
    neighbour: Option<Arc<Neighbour>>,
    is_one_too_many: bool,
}

impl Stay {
    /// Whom to pay with, if the address has limits at all.
    pub(crate) fn neighbour(&self) -> Option<Arc<Neighbour>> {
        self.neighbour.clone()
    }

    /// Whether its address had as many connections as it may have when this came.
    pub(crate) fn is_one_too_many(&self) -> bool {
        self.is_one_too_many
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(neighbour) = &self.neighbour {
            neighbour.left.store(self.neighbours.now_ms(), Ordering::Relaxed);
            neighbour.open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Neighbours {
    pub(crate) fn new() -> Arc<Self> {
        let book = Book { neighbours: HashMap::new(), looked: Duration::ZERO };
        Arc::new(Self { start: Instant::now(), book: Mutex::new(book) })
    }

    /// Somebody comes.
    ///
    /// # Errors
    /// The label of the refusal, if it must go without a word: it comes too fast, or takes up twice what it may.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        config: &RelayConfig,
    ) -> Result<Stay, &'static str> {
        let is_ours =
            config.proxies.contains(&address.to_canonical()) || is_trusted(&config.trusted_proxies, address);
        let address = network(address);
        if is_ours || (address.is_loopback() && !config.limits_loopback) {
            return Ok(Stay { neighbours: Arc::clone(self), neighbour: None, is_one_too_many: false });
        }
        let neighbour = {
            let mut book = self.lock();
            self.tidy(&mut book, config.connections_max.saturating_mul(2));
            let known = book.neighbours.entry(address).or_insert_with(|| Arc::new(Neighbour::new(config)));
            // Counted here, under the lock: a tidying must not forget it.
            known.open.fetch_add(1, Ordering::AcqRel);
            Arc::clone(known)
        };
        let open = neighbour.open() as usize;
        let comes_too_fast = !neighbour.comes.admits();
        let is_one_too_many = open > config.address_connections_max;
        let stay = Stay { neighbours: Arc::clone(self), neighbour: Some(neighbour), is_one_too_many };
        match () {
            () if comes_too_fast => Err("address_connects"),
            () if open > config.address_connections_max.saturating_mul(2) => Err("address_connections"),
            () => Ok(stay),
        }
    }

    /// Forgets who was long gone; if there are too many still, everybody who has nothing open.
    fn tidy(&self, book: &mut Book, max: usize) {
        let now = self.start.elapsed();
        let is_full = book.neighbours.len() > max;
        if !is_full && now < book.looked + REMEMBERED {
            return;
        }
        book.looked = now;
        let (now_ms, remembered) = (self.now_ms(), REMEMBERED.as_millis());
        book.neighbours.retain(|_, neighbour| {
            let gone_ms = u128::from(now_ms.saturating_sub(neighbour.left.load(Ordering::Relaxed)));
            neighbour.open() > 0 || (!is_full && gone_ms < remembered)
        });
        book.neighbours.shrink_to(book.neighbours.len() * 2);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // Insertions and removals are single steps, so a poisoned book is whole.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one customer of a provider has: an address of IPv4, a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rate;

    fn config() -> RelayConfig {
        let mut config = RelayConfig::new(([127, 0, 0, 1], 0).into());
        config.address_connections_max = 2;
        config.connections_max = 10;
        config
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_proxy_of_ours_has_no_limits() {
        let (neighbours, config) = (Neighbours::new(), config());
        let config = RelayConfig { proxies: vec![address(1)], ..config };
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let stays: Vec<_> = (0..100).map(|_| neighbours.enter(mapped, &config).unwrap()).collect();
        assert!(stays.iter().all(|stay| stay.neighbour().is_none() && !stay.is_one_too_many()));
    }

    #[test]
    fn an_address_is_told_first_and_cut_then() {
        let (neighbours, config) = (Neighbours::new(), config());
        let mut stays: Vec<_> = (0..4).map(|_| neighbours.enter(address(1), &config).unwrap()).collect();
        let told: Vec<_> = stays.iter().map(Stay::is_one_too_many).collect();
        assert_eq!(told, [false, false, true, true]);
        assert_eq!(neighbours.enter(address(1), &config).unwrap_err(), "address_connections");
        assert!(!neighbours.enter(address(2), &config).unwrap().is_one_too_many());
        stays.truncate(1);
        assert!(!neighbours.enter(address(1), &config).unwrap().is_one_too_many(), "they have gone");
    }

    #[test]
    fn whoever_comes_too_fast_is_refused_and_coming_back_does_not_help() {
        let (neighbours, mut config) = (Neighbours::new(), config());
        config.address_connects = Rate { per_s: 1, burst: 5 };
        let came = (0..10).filter(|_| neighbours.enter(address(1), &config).is_ok()).count();
        assert_eq!(came, 5);
        assert!(neighbours.enter(address(2), &config).is_ok());
    }

    #[test]
    fn the_book_is_bounded_and_keeps_who_is_there() {
        let (neighbours, config) = (Neighbours::new(), config());
        let stays = neighbours.enter(address(1), &config).unwrap();
        let still = neighbours.enter(address(1), &config).unwrap();
        for other in 0..=u16::MAX {
            let other: IpAddr = std::net::Ipv4Addr::from(0x0a00_0000 + u32::from(other)).into();
            drop(neighbours.enter(other, &config));
            assert!(neighbours.lock().neighbours.len() <= 22);
        }
        assert!(neighbours.enter(address(1), &config).unwrap().is_one_too_many(), "it was forgotten");
        drop((stays, still));
    }

    #[test]
    fn addresses_are_what_one_customer_has() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert!(of("::1").is_loopback() && of("::ffff:127.0.0.1").is_loopback());
    }
}
