//! The limits of a relay by name, as they are set with `--limit` and in the file.
//!
//! Guarantees: a name that does not exist and a value that makes no sense are refused with what would do; what is set
//! is what [`RelayConfig`] has for it.

use std::ops::RangeInclusive;

use tombolo_core::limits::{AWARENESS_ROOM_BYTES_MAX, AWARENESS_ROOM_MAX, UPDATE_BYTES_MAX};
use tombolo_relay::{Rate, RelayConfig};

use crate::error::Error;

/// What a frame has besides the largest update in it.
const FRAMING_BYTES: usize = 4096;
const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
const ANY: RangeInclusive<usize> = 1..=1_000_000_000;

type Of<T> = fn(&mut RelayConfig) -> &mut T;

/// Where a limit is kept, and what it may be.
enum Field {
    Count(Of<usize>, RangeInclusive<usize>),
    Bytes(Of<usize>, RangeInclusive<usize>),
    /// Bytes of content, around which are some of framing.
    Framed(Of<usize>, RangeInclusive<usize>),
    Ms(Of<u64>, RangeInclusive<usize>),
    Rate(Of<Rate>),
    /// Of bytes, kept in KiB.
    ByteRate(Of<Rate>),
}

/// All of them. `README.md` says what each is.
const LIMITS: &[(&str, Field)] = &[
    ("connection-messages", Field::Rate(|config| &mut config.connection_messages)),
    ("connection-bytes", Field::ByteRate(|config| &mut config.connection_kib)),
    ("connection-presence", Field::Rate(|config| &mut config.connection_presence)),
    ("connection-control", Field::Rate(|config| &mut config.connection_control)),
    ("address-messages", Field::Rate(|config| &mut config.address_messages)),
    ("address-bytes", Field::ByteRate(|config| &mut config.address_kib)),
    ("address-connects", Field::Rate(|config| &mut config.address_connects)),
    ("room-messages", Field::Rate(|config| &mut config.room_messages)),
    ("room-bytes", Field::ByteRate(|config| &mut config.room_kib)),
    ("peer-messages", Field::Rate(|config| &mut config.peer_messages)),
    ("peer-bytes", Field::ByteRate(|config| &mut config.peer_kib)),
    ("address-connections", Field::Count(|config| &mut config.address_connections_max, ANY)),
    ("connections", Field::Count(|config| &mut config.connections_max, ANY)),
    ("room-members", Field::Count(|config| &mut config.members_per_room_max, ANY)),
    ("connection-documents", Field::Count(|config| &mut config.documents_per_connection_max, ANY)),
    ("paired-members", Field::Count(|config| &mut config.paired_members_max, 2..=256)),
    ("awareness-clients", Field::Count(|config| &mut config.awareness_clients_max, 1..=AWARENESS_ROOM_MAX)),
    (
        "awareness-bytes",
        Field::Bytes(|config| &mut config.awareness_bytes_max, KIB..=AWARENESS_ROOM_BYTES_MAX),
    ),
    ("message-bytes", Field::Framed(|config| &mut config.message_bytes_max, 64 * KIB..=UPDATE_BYTES_MAX)),
    ("queue-bytes", Field::Bytes(|config| &mut config.queue_bytes_max, 64 * KIB..=1024 * MIB)),
    ("peer-backlog-bytes", Field::Bytes(|config| &mut config.peer_backlog_bytes_max, MIB..=128 * MIB)),
    ("tunnels-bytes", Field::Bytes(|config| &mut config.tunnels_bytes_max, MIB..=1024 * MIB)),
    ("peer-queue-bytes", Field::Bytes(|config| &mut config.peer_queue_bytes_max, MIB..=1024 * MIB)),
    (
        "before-admission-bytes",
        Field::Bytes(|config| &mut config.before_admission_bytes_max, 64 * KIB..=1024 * MIB),
    ),
    ("handshake-ms", Field::Ms(|config| &mut config.handshake_ms, 100..=600_000)),
    ("first-message-ms", Field::Ms(|config| &mut config.first_frame_ms, 100..=600_000)),
    // Shorter than two pings, and honest clients would be cut.
    ("silence-ms", Field::Ms(|config| &mut config.silence_ms, 45_000..=86_400_000)),
];

/// What they are called.
pub fn names() -> impl Iterator<Item = &'static str> {
    LIMITS.iter().map(|(name, _)| *name)
}

/// Sets one.
///
/// # Errors
/// [`Error::Limit`], with what would do.
pub fn set(config: &mut RelayConfig, name: &str, value: &str) -> Result<(), Error> {
    let fail = |expected| Error::Limit { name: name.to_owned(), value: value.to_owned(), expected };
    let Some((_, field)) = LIMITS.iter().find(|(known, _)| *known == name) else {
        return Err(fail(format!("there are {}", names().collect::<Vec<_>>().join(", "))));
    };
    field.set(config, value.trim()).map_err(fail)
}

/// Takes `NAME=VALUE` apart.
///
/// # Errors
/// [`Error::Limit`] if it is not that.
pub fn pair(given: &str) -> Result<(String, String), Error> {
    let pair = given.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    pair.ok_or_else(|| Error::Limit {
        name: given.to_owned(),
        value: String::new(),
        expected: "give a name and a value, such as room-members=100".into(),
    })
}

impl Field {
    /// Or what would do.
    fn set(&self, config: &mut RelayConfig, value: &str) -> Result<(), String> {
        match self {
            Self::Count(of, range) => *of(config) = within(number(value), range, "")?,
            Self::Bytes(of, range) => *of(config) = within(bytes(value), range, BYTES)?,
            Self::Framed(of, range) => *of(config) = within(bytes(value), range, BYTES)? + FRAMING_BYTES,
            Self::Ms(of, range) => *of(config) = within(number(value), range, " ms")? as u64,
            Self::Rate(of) => {
                let expected = "give how many in each second and how many at once, such as 100/1000";
                *of(config) = rate(value, |part| u32::try_from(number(part)?).ok()).ok_or(expected)?;
            }
            Self::ByteRate(of) => {
                let expected =
                    "give how much in each second and how much at once, from 1KiB on, such as 1MiB/64MiB";
                let kib = |part: &str| u32::try_from(bytes(part)? / KIB).ok();
                *of(config) = rate(value, kib).ok_or(expected)?;
            }
        }
        Ok(())
    }
}

const BYTES: &str = " bytes, also as KiB or MiB";

fn within(given: Option<usize>, range: &RangeInclusive<usize>, unit: &str) -> Result<usize, String> {
    let (from, to) = (range.start(), range.end());
    given.filter(|given| range.contains(given)).ok_or_else(|| format!("give {from} to {to}{unit}"))
}

fn number(text: &str) -> Option<usize> {
    // `parse` alone takes a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn bytes(text: &str) -> Option<usize> {
    let scaled = [("KiB", KIB), ("MiB", MIB), ("GiB", 1024 * MIB)]
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)));
    let (digits, scale) = scaled.unwrap_or((text, 1));
    number(digits.trim_end())?.checked_mul(scale)
}

/// Both parts at least 1.
fn rate(text: &str, part: impl Fn(&str) -> Option<u32>) -> Option<Rate> {
    let (per_s, burst) = text.split_once('/')?;
    let one = |text: &str| part(text.trim()).filter(|part| *part > 0);
    Some(Rate { per_s: one(per_s)?, burst: one(burst)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RelayConfig {
        RelayConfig::new(([127, 0, 0, 1], 0).into())
    }

    #[test]
    fn what_is_set_is_what_was_given() {
        let mut config = config();
        for (name, value) in [
            ("connection-messages", "1/2"),
            ("room-bytes", "3KiB / 4 MiB"),
            ("room-members", "5"),
            ("queue-bytes", "2MiB"),
            ("message-bytes", "65536"),
            ("silence-ms", "60000"),
        ] {
            set(&mut config, name, value).unwrap();
        }
        assert_eq!(config.connection_messages, Rate { per_s: 1, burst: 2 });
        assert_eq!(config.room_kib, Rate { per_s: 3, burst: 4096 });
        assert_eq!((config.members_per_room_max, config.queue_bytes_max), (5, 2 * MIB));
        assert_eq!((config.message_bytes_max, config.silence_ms), (65536 + 4096, 60_000));
    }

    #[test]
    fn each_has_its_own_field_and_refuses_nonsense() {
        let before = format!("{:?}", config());
        let mut seen = std::collections::BTreeSet::new();
        for (name, field) in LIMITS {
            let value = match field {
                Field::Rate(_) => "7/77",
                Field::ByteRate(_) => "7KiB/77KiB",
                Field::Framed(..) | Field::Bytes(..) => "3MiB",
                Field::Count(..) => "77",
                Field::Ms(..) => "77777",
            };
            let mut changed = config();
            set(&mut changed, name, value).unwrap();
            let after = format!("{changed:?}");
            assert_ne!(after, before, "{name}");
            assert!(seen.insert(after), "{name} is another one, too");
            for bad in ["", "0", "-1", "+5", "x", "1/", "0/1", "1/0", "99999999999999999999", "1KB", "5 /"] {
                let mut untouched = config();
                let said = set(&mut untouched, name, bad).unwrap_err().to_string();
                assert!(said.contains(name) && said.contains("give "), "{said}");
                assert_eq!(format!("{untouched:?}"), before, "{name}={bad}");
            }
        }
        let unknown = set(&mut config(), "room-member", "5").unwrap_err().to_string();
        assert!(names().all(|name| unknown.contains(name)), "{unknown}");
        assert!(pair("room-members").is_err());
    }
}
