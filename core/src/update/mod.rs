//! Yjs updates as bytes: validated, counted, merged and diffed without a document.
