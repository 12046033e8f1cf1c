//! The store as its users see it: a folder, receipts, and a process that dies at any instant.

/// Runs each of these, which take an engine, as one test for each engine.
#[cfg(test)]
macro_rules! on_each_engine {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                #[test]
                fn sled() {
                    super::$name(tombolo_store::Engine::Sled);
                }

                #[test]
                fn redb() {
                    super::$name(tombolo_store::Engine::Redb);
                }
            }
        )*
    };
}

#[cfg(test)]
mod blame; // many operations that an engine dies of, and engines that hang
#[cfg(test)]
mod changes; // what changed since somebody last asked
#[cfg(test)]
mod changes_killed; // the same with SIGKILL
#[cfg(test)]
mod corruption; // flips and cuts in real folders: verify, repair, serving
#[cfg(test)]
mod deletion; // deleted stays deleted
#[cfg(test)]
mod describe; // documents from the outside
#[cfg(test)]
mod eviction; // stubs, and fetching them again
#[cfg(test)]
mod fold; // tails in any order, with gaps, and with what an engine dies of
#[cfg(test)]
mod footprint; // bytes on the disk for a byte of a document
#[cfg(test)]
mod golden; // folders that earlier versions wrote
#[cfg(test)]
mod incarnation; // copies, moves, restores, resets
#[cfg(test)]
mod kill; // SIGKILL at random instants, on the real disk and the real engines
#[cfg(test)]
mod life; // opening, appending, folding, forgetting
#[cfg(test)]
mod mount; // small real file systems
#[cfg(test)]
mod power; // power cuts on a real file system
#[cfg(test)]
mod space; // a disk that fills up
#[cfg(test)]
mod typist; // updates of a client that types
