//! The tokens that a server wants its clients to show.

use std::sync::Arc;

use tombolo_relay::admission::{Admission, Everybody, Tokens};
use tombolo_relay::backplane::Token;

use crate::error::Error;

/// Shortest token in bytes: what nobody guesses over a network, if it is random.
const TOKEN_BYTES_MIN: usize = 16;

/// Who may join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    write: Option<Token>,
    read: Option<Token>,
}

impl Entry {
    /// By these tokens; by none for everybody.
    ///
    /// # Errors
    /// [`Error::Token`] for a token that protects nothing.
    pub fn by(write: Option<&str>, read: Option<&str>) -> Result<Self, Error> {
        let refuse = |name, expected| Error::Token { name, expected };
        let token = |name, text: Option<&str>| match text.map(str::parse::<Token>) {
            Some(Ok(_)) if text.is_some_and(|text| text.len() < TOKEN_BYTES_MIN) => Err(refuse(
                name,
                "give at least 16 characters, best random ones, such as `openssl rand -hex 16` makes",
            )),
            Some(parsed) => parsed.map(Some).map_err(|_| {
                refuse(
                    name,
                    "give 16 to 1,024 visible ASCII characters, such as `openssl rand -hex 16` makes",
                )
            }),
            None => Ok(None),
        };
        let (write, read) = (token("token", write)?, token("read-only-token", read)?);
        match (&write, &read) {
            (None, Some(_)) => {
                Err(refuse("read-only-token", "give --token, too; without it nobody could write"))
            }
            (Some(one), Some(other)) if one == other => {
                Err(refuse("read-only-token", "give another than that of --token"))
            }
            _ => Ok(Self { write, read }),
        }
    }

    /// Whether a token is needed.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.write.is_some()
    }

    /// Who asks at the door.
    #[must_use]
    pub fn admission(&self) -> Arc<dyn Admission> {
        match &self.write {
            Some(write) => Arc::new(Tokens::new(write.clone(), self.read.clone())),
            None => Arc::new(Everybody),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_protect_nothing_are_refused_and_none_is_printed() {
        let (one, other) = (Some("0123456789abcdef"), Some("fedcba9876543210"));
        let long = "x".repeat(1025);
        for (write, read) in [
            (Some(""), None),
            (Some("short"), None),
            (Some(" 0123456789abcdef"), None),
            (Some("0123456789abcdef\n"), None),
            (Some(long.as_str()), None),
            (one, Some("short")),
            (one, one),
            (None, one),
        ] {
            let said = Entry::by(write, read).unwrap_err().to_string();
            assert!(!said.contains("0123456789abcdef") && !said.contains("short"), "{said}");
        }
        let entry = Entry::by(one, other).unwrap();
        assert!(entry.is_guarded() && !format!("{entry:?}").contains("0123456789abcdef"));
        assert!(Entry::by(one, None).unwrap().is_guarded());
        assert!(!Entry::by(None, None).unwrap().is_guarded());
    }
}
