//! Where the notes of a folder are synced to: a small file beside them.
//!
//! Tokens lie in it, so nobody but its owner may read it. It is written whole or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo_relay::backplane::RelayAddress;

use super::error::NoteError;
use crate::replica::{InvalidPattern, LinkOptions, Pattern, ReplicaError, Stale, Subscription, Token};

/// One place to sync to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteLink {
    /// Its address.
    pub url: String,
    /// What opens it.
    pub token: Option<Token>,
    /// Only notes that one of these fits; all, if there is none.
    pub only: Vec<Pattern>,
    /// After so many days without a sync, what changed here and there is said before it is merged.
    pub stale_after_days: Option<u64>,
    /// And it waits until somebody says so.
    pub holds: bool,
}

impl NoteLink {
    /// A link that was checked.
    ///
    /// # Errors
    /// [`NoteError::Replica`] if the address is none.
    pub fn new(url: &str, token: Option<Token>) -> Result<Self, NoteError> {
        let address = RelayAddress::for_replicas(url)
            .map_err(|source| ReplicaError::Address { url: url.to_owned(), source })?;
        Ok(Self { url: address.to_string(), token, only: Vec::new(), stale_after_days: None, holds: false })
    }

    /// As a replica takes it.
    #[must_use]
    pub fn options(&self) -> LinkOptions {
        let days = self.stale_after_days.map(|days| Duration::from_secs(days.saturating_mul(24 * 3600)));
        let stale = days.map_or_else(Stale::never, Stale::after);
        let stale = if self.holds { stale.hold() } else { stale };
        LinkOptions {
            token: self.token.clone(),
            subscription: self.subscription(),
            stale,
            ..LinkOptions::default()
        }
    }

    /// Which notes are synced with it.
    #[must_use]
    pub fn subscription(&self) -> Subscription {
        Subscription::patterns(self.only.iter().cloned())
    }

    /// Whether it is more than the first version of the file can say.
    fn is_special(&self) -> bool {
        !self.only.is_empty() || self.stale_after_days.is_some() || self.holds
    }
}

/// As the file has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    links: Vec<StoredLink>,
}

#[derive(Serialize, Deserialize)]
struct StoredLink {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    token: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    only: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    stale_after_days: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    hold: bool,
}

/// The first has addresses and tokens only. It is written as long as that says all, so that older programs read it; one
/// that knows nothing of the rest must not sync what it should not.
const VERSIONS: [u32; 2] = [1, 2];

/// The file of a folder.
fn path(folder: &Path) -> PathBuf {
    folder.join("links").join("notes.json")
}

/// The links of a folder, in the order in which they were added.
///
/// # Errors
/// [`NoteError::Links`] if the file cannot be understood, [`NoteError::File`] if it cannot be read.
pub fn load(folder: &Path) -> Result<Vec<NoteLink>, NoteError> {
    let path = path(folder);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(NoteError::File { path, source }),
    };
    let broken = |why: String| NoteError::Links { path: path.clone(), why };
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    if !VERSIONS.contains(&stored.version) {
        let known = VERSIONS.map(|version| version.to_string()).join(" and ");
        return Err(broken(format!("it has version {}, and this program knows {known}", stored.version)));
    }
    let link = |StoredLink { url, token, only, stale_after_days, hold }: StoredLink| {
        let token = token.map(|token| token.parse()).transpose();
        let link = NoteLink::new(&url, token.map_err(|error| broken(format!("{error}")))?)?;
        let only: Result<_, InvalidPattern> = only.iter().map(|pattern| pattern.parse()).collect();
        let only = only.map_err(|error| broken(error.to_string()))?;
        Ok(NoteLink { only, stale_after_days, holds: hold, ..link })
    };
    stored.links.into_iter().map(link).collect()
}

/// Writes the links of a folder.
///
/// # Errors
/// [`NoteError::File`] if that fails; then they are as they were.
pub fn save(folder: &Path, links: &[NoteLink]) -> Result<(), NoteError> {
    let path = path(folder);
    let [first, second] = VERSIONS;
    let version = if links.iter().any(NoteLink::is_special) { second } else { first };
    let links = links.iter().map(|link| StoredLink {
        url: link.url.clone(),
        token: link.token.as_ref().map(|token| token.secret().to_owned()),
        only: link.only.iter().map(ToString::to_string).collect(),
        stale_after_days: link.stale_after_days,
        hold: link.holds,
    });
    let stored = Stored { version, links: links.collect() };
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        // Readable for its owner only, as such files are made.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(&stored)?)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| NoteError::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn links_come_back_and_nobody_else_reads_their_tokens() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), []);
        let links = [
            NoteLink::new("ws://a:1", Some("a secret of sixteen".replace(' ', "-").parse().unwrap()))
                .unwrap(),
            NoteLink::new("wss://b", None).unwrap(),
        ];
        save(folder.path(), &links).unwrap();
        assert_eq!(load(folder.path()).unwrap(), links);
        let mode = std::fs::metadata(path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        let version = || {
            serde_json::from_slice::<Stored>(&std::fs::read(path(folder.path())).unwrap()).unwrap().version
        };
        assert_eq!(version(), 1, "older programs read it");
        let only = vec!["notes/*".parse().unwrap(), r"a\*".parse().unwrap()];
        let special = NoteLink { only, stale_after_days: Some(7), holds: true, ..links[1].clone() };
        save(folder.path(), &[links[0].clone(), special.clone()]).unwrap();
        assert_eq!(load(folder.path()).unwrap(), [links[0].clone(), special]);
        assert_eq!(version(), 2, "older programs would sync too much");
        assert!(NoteLink::new("http://a", None).is_err());
        for broken in ["", "{}", r#"{"version":3,"links":[]}"#, r#"{"version":1,"links":[{"url":"x"}]}"#] {
            std::fs::write(path(folder.path()), broken).unwrap();
            assert!(load(folder.path()).is_err(), "{broken}");
        }
    }
}
