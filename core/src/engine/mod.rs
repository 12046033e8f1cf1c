//! The only callers of yrs and automerge.
