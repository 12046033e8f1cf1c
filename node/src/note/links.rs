//! Where the notes of a folder are synced to: a small file beside them.
//!
//! Tokens lie in it, so nobody but its owner may read it. It is written whole or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tombolo_relay::backplane::RelayAddress;

use super::error::NoteError;
use crate::replica::{LinkOptions, ReplicaError, Token};

/// One place to sync to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteLink {
    /// Its address.
    pub url: String,
    /// What opens it.
    pub token: Option<Token>,
}

impl NoteLink {
    /// A link that was checked.
    ///
    /// # Errors
    /// [`NoteError::Replica`] if the address is none.
    pub fn new(url: &str, token: Option<Token>) -> Result<Self, NoteError> {
        let address = RelayAddress::for_replicas(url)
            .map_err(|source| ReplicaError::Address { url: url.to_owned(), source })?;
        Ok(Self { url: address.to_string(), token })
    }

    /// As a replica takes it.
    #[must_use]
    pub fn options(&self) -> LinkOptions {
        LinkOptions { token: self.token.clone(), ..LinkOptions::default() }
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
}

const VERSION: u32 = 1;

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
    if stored.version != VERSION {
        return Err(broken(format!("it has version {}, and this program knows {VERSION}", stored.version)));
    }
    let link = |StoredLink { url, token }: StoredLink| {
        let token = token.map(|token| token.parse()).transpose();
        NoteLink::new(&url, token.map_err(|error| broken(format!("{error}")))?)
    };
    stored.links.into_iter().map(link).collect()
}

/// Writes the links of a folder.
///
/// # Errors
/// [`NoteError::File`] if that fails; then they are as they were.
pub fn save(folder: &Path, links: &[NoteLink]) -> Result<(), NoteError> {
    let path = path(folder);
    let links = links.iter().map(|link| StoredLink {
        url: link.url.clone(),
        token: link.token.as_ref().map(|token| token.secret().to_owned()),
    });
    let stored = Stored { version: VERSION, links: links.collect() };
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
        assert!(NoteLink::new("http://a", None).is_err());
        for broken in ["", "{}", r#"{"version":2,"links":[]}"#, r#"{"version":1,"links":[{"url":"x"}]}"#] {
            std::fs::write(path(folder.path()), broken).unwrap();
            assert!(load(folder.path()).is_err(), "{broken}");
        }
    }
}
