//! The room: the connections gathered around one document, as a plain state machine.
