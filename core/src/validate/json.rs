//! Judges JSON text without building it: valid, and not nested deeper than a stack can bear
//! (HAZARDS: yrs-3, am-7).

use crate::limits::NESTING_MAX;

/// Why text is not accepted as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonFault {
    /// The text is no JSON.
    Syntax,
    /// Arrays and objects are nested too deep.
    Nesting,
}

/// Succeeds if `text` is one JSON value with at most [`NESTING_MAX`] open brackets.
pub(crate) fn check_json(text: &str) -> Result<(), JsonFault> {
    let mut depth = 0usize;
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(JsonFault::Nesting);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| ()).map_err(|_| JsonFault::Syntax)
}
