//! Static tokens: one that opens everything, and one for who may only read.

use super::{Access, Admission, Claim, Denied};
use crate::backplane::Token;

/// Whoever shows one of these may join.
#[derive(Debug)]
pub struct Tokens {
    write: Token,
    read: Option<Token>,
}

impl Tokens {
    /// One that opens everything, and perhaps one for reading.
    #[must_use]
    pub fn new(write: Token, read: Option<Token>) -> Self {
        Self { write, read }
    }
}

impl Admission for Tokens {
    fn admit(&self, claim: &Claim<'_>) -> Result<Access, Denied> {
        let shown = claim.token.filter(|token| !token.is_empty());
        let shown = shown.ok_or_else(|| Denied { reason: "a token is needed".into() })?;
        match &self.read {
            _ if self.write.is(shown) => Ok(Access::ReadWrite),
            Some(read) if read.is(shown) => Ok(Access::ReadOnly),
            Some(_) | None => Err(Denied { reason: "this token is not known".into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_opens_what_it_opens() {
        let token = |text: &str| text.parse::<Token>().unwrap();
        let both = Tokens::new(token("writes"), Some(token("reads")));
        let admit = |tokens: &Tokens, token| {
            let address = ([127, 0, 0, 1], 1).into();
            tokens.admit(&Claim { address, document: None, token }).ok()
        };
        assert_eq!(admit(&both, Some("writes")), Some(Access::ReadWrite));
        assert_eq!(admit(&both, Some("reads")), Some(Access::ReadOnly));
        for other in [None, Some(""), Some("write"), Some("writes "), Some("WRITES")] {
            assert_eq!(admit(&both, other), None);
        }
        let one = Tokens::new(token("writes"), None);
        assert_eq!((admit(&one, Some("reads")), admit(&one, None)), (None, None));
    }
}
