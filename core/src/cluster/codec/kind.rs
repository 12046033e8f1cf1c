//! The first byte of each body. One set for all streams; numbers are never used again for something else.

pub(super) const PART: u8 = 0;
pub(super) const HERE: u8 = 1;
pub(super) const BYE: u8 = 2;
pub(super) const WHO: u8 = 3;
pub(super) const NOT_HERE: u8 = 4;
pub(super) const ROLL: u8 = 5;
pub(super) const GONE: u8 = 6;
pub(super) const SAID: u8 = 7;
pub(super) const MISSED_ROOM: u8 = 8;
pub(super) const MISSED_STREAM: u8 = 9;
pub(super) const MARK: u8 = 10;
pub(super) const TUNNEL_OPEN: u8 = 11;
pub(super) const TUNNEL_DATA: u8 = 12;
pub(super) const TUNNEL_CLOSE: u8 = 13;
