//! The real disk: files in one folder, allocated ahead, fdatasync.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile};

/// Zeros written at once when a file is made.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A folder on the system's file system.
#[derive(Debug)]
pub struct FileDisk {
    folder: PathBuf,
    /// Kept open: syncing the folder must not need a descriptor when there is none to be had.
    descriptor: File,
}

impl FileDisk {
    /// Uses this folder, making it durably if it is missing.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
        Self::of(folder)
    }

    /// Uses this folder, which is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_owned(), descriptor: File::open(folder)? })
    }
}

impl FileDisk {
    /// Whether there is room for so many bytes and as many for the shelves, which give the journal its room back.
    fn check_room(&self, len: u64) -> io::Result<()> {
        let room = rustix::fs::fstatvfs(&self.descriptor)?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < len.saturating_mul(2) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// Written, not only reserved: a write into reserved space would pay for the file's metadata at each fdatasync.
fn fill_with_zeros(file: &File, len: u64) -> io::Result<()> {
    let mut offset = 0;
    while offset < len {
        let rest = usize::try_from(len - offset).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all_at(ZEROS.get(..rest).unwrap_or_default(), offset)?;
        offset += rest as u64;
    }
    Ok(())
}

impl Disk for FileDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.check_room(len)?;
        let path = self.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        fill_with_zeros(&file, len).inspect_err(|_| {
            // Half a file is of no use to anybody, and its room may be.
            let _ = std::fs::remove_file(&path);
        })?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.descriptor.sync_all()
    }
}

#[derive(Debug)]
struct OpenFile(File);

impl DiskFile for OpenFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
