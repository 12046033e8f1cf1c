//! The name of one document: its format and a name inside that format.
//!
//! Parsed strictly at the edge, so that everything behind it can rely on the bounds.

use std::fmt;
use std::sync::Arc;

use crate::limits::DOCUMENT_NAME_BYTES_MAX;

/// The two CRDT formats. A closed set: the tag is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Format {
    /// A Yjs document; operations are updates in the v1 encoding.
    Yjs = 1,
    /// An Automerge document; operations are change chunks.
    Automerge = 2,
}

impl Format {
    /// The format with this tag, if there is one.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Yjs),
            2 => Some(Self::Automerge),
            _ => None,
        }
    }

    /// The tag as stored.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            Self::Yjs => 1,
            Self::Automerge => 2,
        }
    }
}

/// Names one document for ever. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentId {
    /// A Yjs document, named by a room name of 1 to 512 bytes of UTF-8.
    Yjs(Arc<str>),
    /// An Automerge document, named by 16 bytes.
    Automerge([u8; 16]),
}

/// Why a text is no document name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// Nothing, or white space only.
    #[error("the document name is empty; give it at least one visible character")]
    Empty,
    /// More bytes than a key may have.
    #[error("the document name has {bytes} bytes; at most {max} are allowed", max = DOCUMENT_NAME_BYTES_MAX)]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Not UTF-8, or a control character NUL inside (the session separator of Hocuspocus).
    #[error("the document name is not plain UTF-8 text")]
    NotText,
    /// Not a base58check text of 16 bytes.
    #[error("the Automerge document id is not the base58check form of 16 bytes")]
    NotBase58,
}

impl DocumentId {
    /// A Yjs document by its room name.
    ///
    /// # Errors
    /// [`InvalidName`] if the name is blank, too long or holds a NUL.
    pub fn yjs(name: &str) -> Result<Self, InvalidName> {
        if name.trim().is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > DOCUMENT_NAME_BYTES_MAX {
            return Err(InvalidName::TooLong { bytes: name.len() });
        }
        if name.contains('\0') {
            return Err(InvalidName::NotText);
        }
        Ok(Self::Yjs(name.into()))
    }

    /// A Yjs document by the percent-encoded rest of a URL path, as stock clients send it.
    ///
    /// # Errors
    /// [`InvalidName`] as for [`DocumentId::yjs`], and if the decoded bytes are not UTF-8.
    pub fn yjs_from_path(path: &str) -> Result<Self, InvalidName> {
        let name =
            percent_encoding::percent_decode_str(path).decode_utf8().map_err(|_| InvalidName::NotText)?;
        Self::yjs(&name)
    }

    /// An Automerge document by its base58check text (without `automerge:`).
    ///
    /// # Errors
    /// [`InvalidName::NotBase58`] if the text does not decode to 16 bytes with a right checksum.
    pub fn automerge_from_text(text: &str) -> Result<Self, InvalidName> {
        if text.len() > 64 {
            return Err(InvalidName::NotBase58);
        }
        let bytes = bs58::decode(text).with_check(None).into_vec().map_err(|_| InvalidName::NotBase58)?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| InvalidName::NotBase58)?;
        Ok(Self::Automerge(bytes))
    }

    /// An Automerge document by its URL, `automerge:` and the base58check text, or by that text alone.
    ///
    /// # Errors
    /// [`InvalidName::NotBase58`] as for [`DocumentId::automerge_from_text`].
    pub fn automerge_from_url(url: &str) -> Result<Self, InvalidName> {
        Self::automerge_from_text(url.strip_prefix("automerge:").unwrap_or(url))
    }

    /// Whether its name begins so: a Yjs document's, or the URL of an Automerge document, for which the prefix begins
    /// with `automerge:`.
    #[must_use]
    pub fn is_under(&self, prefix: &str) -> bool {
        match self {
            Self::Yjs(name) => name.starts_with(prefix),
            Self::Automerge(_) => {
                prefix.strip_prefix("automerge:").is_some_and(|id| self.to_string().starts_with(id))
            }
        }
    }

    /// Which CRDT it is.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Yjs(_) => Format::Yjs,
            Self::Automerge(_) => Format::Automerge,
        }
    }

    /// The key form: the format's tag, then the name's bytes. Injective; the inverse is [`DocumentId::from_key`].
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.key_len());
        self.append_key(&mut key);
        key
    }

    /// Appends the key form to other bytes.
    pub fn append_key(&self, out: &mut Vec<u8>) {
        out.push(self.format().tag());
        out.extend_from_slice(self.name_bytes());
    }

    /// Length of the key form in bytes.
    #[must_use]
    pub fn key_len(&self) -> usize {
        1 + self.name_bytes().len()
    }

    /// Reads the key form back.
    ///
    /// # Errors
    /// [`InvalidName`] if the bytes are not a key that [`DocumentId::to_key`] can write.
    pub fn from_key(key: &[u8]) -> Result<Self, InvalidName> {
        let (tag, name) = key.split_first().ok_or(InvalidName::Empty)?;
        match Format::from_tag(*tag) {
            Some(Format::Yjs) => Self::yjs(std::str::from_utf8(name).map_err(|_| InvalidName::NotText)?),
            Some(Format::Automerge) => {
                Ok(Self::Automerge(name.try_into().map_err(|_| InvalidName::NotBase58)?))
            }
            None => Err(InvalidName::NotText),
        }
    }

    fn name_bytes(&self) -> &[u8] {
        match self {
            Self::Yjs(name) => name.as_bytes(),
            Self::Automerge(id) => id,
        }
    }
}

impl fmt::Display for DocumentId {
    /// The name as its clients write it: the room name, or the base58check id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yjs(name) => f.write_str(name),
            Self::Automerge(id) => f.write_str(&bs58::encode(id).with_check().into_string()),
        }
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.format())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        for id in [DocumentId::yjs("a/b 😀").unwrap(), DocumentId::Automerge([7; 16])] {
            assert_eq!(DocumentId::from_key(&id.to_key()).unwrap(), id);
            assert_eq!(id.to_key().len(), id.key_len());
        }
    }

    #[test]
    fn base58_as_the_javascript_client_writes_it() {
        let bytes: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let id = DocumentId::Automerge(bytes);
        assert_eq!(id.to_string(), "1Bhh3pU9gLXZiNDL6PEa1Gs9fh");
        assert_eq!(DocumentId::automerge_from_text("1Bhh3pU9gLXZiNDL6PEa1Gs9fh").unwrap(), id);
        assert!(DocumentId::automerge_from_text("1Bhh3pU9gLXZiNDL6PEa1Gs9fi").is_err());
        assert_eq!(DocumentId::automerge_from_url("1Bhh3pU9gLXZiNDL6PEa1Gs9fh").unwrap(), id);
        assert_eq!(DocumentId::automerge_from_url("automerge:1Bhh3pU9gLXZiNDL6PEa1Gs9fh").unwrap(), id);
        assert!(DocumentId::automerge_from_url("automerge:automerge:1Bhh3pU9gLXZiNDL6PEa1Gs9fh").is_err());
    }

    #[test]
    fn paths_are_decoded_and_bad_names_refused() {
        assert_eq!(
            DocumentId::yjs_from_path("a%20b/%F0%9F%98%80").unwrap(),
            DocumentId::yjs("a b/😀").unwrap()
        );
        assert_eq!(DocumentId::yjs_from_path("%ff"), Err(InvalidName::NotText));
        assert_eq!(DocumentId::yjs("  "), Err(InvalidName::Empty));
        assert_eq!(DocumentId::yjs(&"x".repeat(513)), Err(InvalidName::TooLong { bytes: 513 }));
        assert_eq!(DocumentId::yjs("a\0b"), Err(InvalidName::NotText));
    }
}
