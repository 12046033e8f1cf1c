//! Small real file systems on loop devices, for what no folder shows: a full disk, a power cut.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A mounted ext4 image; unmounted however the test ends.
pub struct Mounted {
    folder: tempfile::TempDir,
}

impl Mounted {
    /// A new file system of so many MiB. None where nothing can be mounted, after saying so.
    pub fn new(test: &str, mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(mib * 1024 * 1024).unwrap();
        let made = run("mkfs.ext4", &["-q", "-m", "0", &text(&image)]);
        let reason = match made {
            Ok(output) if output.status.success() => return Self::mount(test, folder),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        skipped(test, &format!("mkfs.ext4: {reason}"));
        None
    }

    /// Mounts the file `image` in this folder, whatever state it is in. None where that is not possible.
    pub fn mount(test: &str, folder: tempfile::TempDir) -> Option<Self> {
        let point = folder.path().join("disk");
        std::fs::create_dir_all(&point).unwrap();
        let mounted = run("mount", &["-o", "loop", &text(&folder.path().join("image")), &text(&point)]);
        let reason = match mounted {
            Ok(output) if output.status.success() => return Some(Self { folder }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        skipped(test, &format!("mount: {reason}"));
        None
    }

    /// The file that is its device.
    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let point = text(&self.path());
        // Lazily if something still holds it: nothing may stay mounted behind a test that failed.
        let gone = run("umount", &[&point]).is_ok_and(|output| output.status.success());
        if !gone {
            let _ = run("umount", &["--lazy", &point]);
        }
    }
}

fn skipped(test: &str, reason: &str) {
    // Past the harness, which keeps what tests print.
    let _ =
        writeln!(std::io::stderr(), "SKIPPED {test}: this needs root and loop devices; {}", reason.trim());
}

fn run(program: &str, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(program).args(arguments).stdin(Stdio::null()).output()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
