//! What forwards: sockets, rooms, fan-out and back-pressure; no document, nothing on disk.
