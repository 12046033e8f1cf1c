//! What is NATS' own: credentials, prefixes, small servers, servers that hang, and more than one participant.
