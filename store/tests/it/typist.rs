//! A Yjs client that types one letter at a time, as bytes.

use bytes::Bytes;
use tombolo_core::engine::yjs;
use tombolo_core::update::{Coverage, Update};
use tombolo_store::Contents;

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

fn var_uint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

fn letter(clock: u64) -> u8 {
    LETTERS[usize::try_from(clock).unwrap() % LETTERS.len()]
}

/// The update that types the letter at `clock` of this client at the end of the text "t".
pub fn keystroke(client: u64, clock: u64) -> Bytes {
    paste(client, clock, 1)
}

/// The same with so many letters in one go.
pub fn paste(client: u64, clock: u64, letters: u64) -> Bytes {
    let mut bytes = vec![1, 1];
    var_uint(&mut bytes, client);
    var_uint(&mut bytes, clock);
    if clock == 0 {
        bytes.extend([4, 1, 1, b't']);
    } else {
        bytes.push(0x84);
        var_uint(&mut bytes, client);
        var_uint(&mut bytes, clock - 1);
    }
    var_uint(&mut bytes, letters);
    bytes.extend((clock..clock + letters).map(letter));
    bytes.push(0);
    bytes.into()
}

/// What has been typed before `clock`.
pub fn typed(clock: u64) -> String {
    (0..clock).map(|clock| char::from(letter(clock))).collect()
}

pub fn parts(contents: &Contents) -> Vec<Bytes> {
    contents.snapshot.iter().chain(&contents.tail).cloned().collect()
}

/// How far the client's typing is there, without a hole.
pub fn reach(contents: &Contents, client: u64) -> u64 {
    let mut coverage = Coverage::default();
    for part in parts(contents) {
        coverage.add(&Update::parse(part).unwrap());
    }
    coverage.state_vector().get(client)
}

/// The text, through the engine.
pub fn text(contents: &Contents) -> String {
    yjs::text(&parts(contents), "t").unwrap()
}
