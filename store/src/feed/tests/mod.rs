//! The feed on a disk that loses its power, with a journal and a shelf of which only what counts is modelled.

mod crash; // power cuts between any two calls
mod golden; // the file as version 1 wrote it
mod growth; // the file is made anew in time
mod history; // what was never this feed's
mod world; // a store of which only the feed is real
