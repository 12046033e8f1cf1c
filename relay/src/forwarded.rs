//! Who is behind a proxy: the word of proxies that are trusted, and of nobody else.
//!
//! A proxy adds at the end whom it was asked by, behind what that one said itself. So the last address that is not a
//! trusted proxy's own is the client's, and all before it may be made up.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::FORWARDED;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The addresses of one trusted proxy, or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy {
    address: IpAddr,
    /// How many bits of it count.
    bits: u32,
}

/// What names no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this names no proxy; give loopback, an IP address, or one with a length, such as 10.0.0.0/8")]
pub struct InvalidProxy;

impl FromStr for TrustedProxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        if text == "loopback" {
            return Ok(Self { address: IpAddr::from([127, 0, 0, 0]), bits: 8 });
        }
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| InvalidProxy)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| InvalidProxy))?;
        if bits > most || address != address.to_canonical() {
            return Err(InvalidProxy);
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl TrustedProxy {
    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                (mine.to_bits() ^ other.to_bits()).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                (mine.to_bits() ^ other.to_bits()).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            // "loopback" is that of IPv6, too.
            (IpAddr::V4(mine), IpAddr::V6(other)) => {
                mine.is_loopback() && self.bits == 8 && other.is_loopback()
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether one of them is at this address.
pub(crate) fn is_trusted(proxies: &[TrustedProxy], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.has(address))
}

/// The client for which a trusted proxy at `from` asks; none if it is not one, or does not say.
pub(crate) fn client(proxies: &[TrustedProxy], from: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    if !is_trusted(proxies, from) {
        return None;
    }
    let passed = if headers.contains_key(X_FORWARDED_FOR) {
        values(headers, X_FORWARDED_FOR).map(address).collect::<Vec<_>>()
    } else {
        values(headers, FORWARDED.as_str()).map(forwarded_for).collect()
    };
    // What cannot be read is of nobody, and what is before it may be made up.
    passed.into_iter().rev().find(|address| address.is_none_or(|address| !is_trusted(proxies, address)))?
}

/// The elements of all headers of this name, in their order.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The address of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(node.trim_matches('"'))
}

/// An address, with a port or without.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let bare =
        bare.or_else(|| node.split_once(':').filter(|(_, port)| !port.contains(':')).map(|(host, _)| host));
    bare.unwrap_or(node).parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(named: &[&str]) -> Vec<TrustedProxy> {
        named.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn behind(named: &[&str], from: &str, lines: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        client(&proxies(named), from.parse().unwrap(), &headers).map(|address| address.to_string())
    }

    #[test]
    fn networks_have_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.5", "10.0.0.5", "10.0.0.4"),
            ("loopback", "127.5.5.5", "128.0.0.1"),
            ("loopback", "::1", "::2"),
            ("loopback", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
            ("fd00::/8", "fd12::1", "fe00::1"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
            ("::/0", "fd12::1", "192.0.2.1"),
        ] {
            let all = proxies(&[network]);
            assert!(is_trusted(&all, inside.parse().unwrap()), "{network} has {inside}");
            assert!(!is_trusted(&all, outside.parse().unwrap()), "{network} has not {outside}");
        }
        for wrong in
            ["", "proxy", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0/8", "::ffff:10.0.0.1", "10.0.0.1/"]
        {
            assert_eq!(wrong.parse::<TrustedProxy>(), Err(InvalidProxy), "{wrong}");
        }
    }

    #[test]
    fn the_last_that_is_no_proxy_is_the_client() {
        const FOR: &str = "x-forwarded-for";
        let ours = ["loopback", "10.0.0.0/8"];
        let is = |from: &str, lines: &[(&'static str, &str)], client: Option<&str>| {
            assert_eq!(behind(&ours, from, lines).as_deref(), client, "{from} {lines:?}");
        };
        is("127.0.0.1", &[(FOR, "192.0.2.1")], Some("192.0.2.1"));
        is("192.0.2.9", &[(FOR, "192.0.2.1")], None);
        is("127.0.0.1", &[], None);
        // What the client says itself comes first.
        is("127.0.0.1", &[(FOR, "198.51.100.1, 192.0.2.1")], Some("192.0.2.1"));
        is("127.0.0.1", &[(FOR, "198.51.100.1"), (FOR, "192.0.2.1, 10.1.2.3")], Some("192.0.2.1"));
        is("127.0.0.1", &[(FOR, "10.1.2.3, 127.0.0.1")], None);
        is("127.0.0.1", &[(FOR, "192.0.2.1, unknown")], None);
        is("127.0.0.1", &[(FOR, "192.0.2.1:4711")], Some("192.0.2.1"));
        is("127.0.0.1", &[(FOR, "[2001:db8::1]:4711")], Some("2001:db8::1"));
        is("::1", &[(FOR, "2001:db8::1")], Some("2001:db8::1"));
        is("127.0.0.1", &[(FOR, "::ffff:192.0.2.1")], Some("192.0.2.1"));
        let forwarded = "for=198.51.100.1, proto=https;For=\"[2001:db8::1]:47\";by=10.0.0.1, for=10.0.0.7";
        is("127.0.0.1", &[("forwarded", forwarded)], Some("2001:db8::1"));
        is("127.0.0.1", &[("forwarded", "for=192.0.2.1, by=10.0.0.1")], None);
        is("127.0.0.1", &[("forwarded", "for=192.0.2.2"), (FOR, "192.0.2.1")], Some("192.0.2.1"));
    }
}
