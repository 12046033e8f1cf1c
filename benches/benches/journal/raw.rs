//! The yardstick: one `write` and one `fdatasync` into a file that was filled with zeros before.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::FILE_BYTES;

/// A file that is written from its beginning again when it is full.
pub(crate) struct Raw {
    file: File,
    end: u64,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let zeros = vec![0; 1024 * 1024];
        for offset in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        Ok(Self { file, end: 0, buffer: Vec::new() })
    }

    /// Makes a group durable; says how long it took.
    pub(crate) fn group(&mut self, payloads: &[Bytes]) -> Duration {
        let start = Instant::now();
        self.buffer.clear();
        for payload in payloads {
            let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            self.buffer.extend_from_slice(&len.to_be_bytes());
            self.buffer.extend_from_slice(payload);
        }
        let len = self.buffer.len() as u64;
        if self.end + len > FILE_BYTES {
            self.end = 0;
        }
        self.file.write_all_at(&self.buffer, self.end).expect("the disk takes it");
        self.file.sync_data().expect("the disk takes it");
        self.end += len;
        start.elapsed()
    }
}
