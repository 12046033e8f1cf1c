//! Tests of the machine and its bytes.

mod bus; // relays on something that delays and loses
mod chance;
mod codec;
mod crafted; // what one peer says by hand
mod judge; // what was promised, against what came
mod large; // what takes long to write and to read
mod letters; // things to say
mod net; // relays on a bus without delay
mod rules; // one rule each
mod simulation;
