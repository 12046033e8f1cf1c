//! The dialects: one client protocol's framing each, as types with parse and encode.
