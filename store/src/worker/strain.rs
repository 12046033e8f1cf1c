//! How much memory a merge process used, beside what it may; where the system does not say, nothing.

use rustix::process::Pid;

/// More than this part of the time or memory allowed is much.
pub(super) const PART: u32 = 4;

/// Starts over. A system that does not allow it makes processes look more strained than they are.
pub(super) fn begin(process: Pid) {
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// Whether it was much since then.
pub(super) fn is_much(process: Pid) -> bool {
    let used = number(&format!("/proc/{process}/status"), "VmHWM:").map(|kib| kib.saturating_mul(1024));
    let allowed = number(&format!("/proc/{process}/limits"), "Max address space");
    matches!((used, allowed), (Some(used), Some(allowed)) if used > allowed / u64::from(PART))
}

/// The first number behind a name in a file of the system.
fn number(path: &str, name: &str) -> Option<u64> {
    let file = std::fs::read_to_string(path).ok()?;
    let line = file.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
