//! The binary as a person meets it, and the repository held to its own rules.

#[cfg(test)]
mod command_line; // what it says and how it ends
#[cfg(test)]
mod tidy; // lengths, layers, cited hazards, documents in step
#[cfg(test)]
mod worker; // merging in processes of their own
