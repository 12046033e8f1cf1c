//! The store's counters as Prometheus text.

use std::fmt::Write;

use tombolo_store::StoreMetrics;

pub(super) fn text(metrics: &StoreMetrics) -> String {
    let mut out = String::new();
    let mut line = |kind: &str, name: &str, help: &str, value: u64| {
        let total = if kind == "counter" { "_total" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "# HELP tombolo_{name} {help}.\n# TYPE tombolo_{name} {kind}\ntombolo_{name}{total} {value}\n"
        );
    };
    line("counter", "commits", "Group commits: one fdatasync each", metrics.commits);
    line("counter", "operations", "Operations made durable", metrics.operations);
    line("gauge", "journal_bytes", "Bytes of journal segments on disk", metrics.journal_bytes);
    line("gauge", "shelf_bytes", "Bytes of the shelf on disk", metrics.shelf_bytes);
    line("gauge", "pending_bytes", "Bytes queued and not yet durable", metrics.pending_bytes);
    line("gauge", "open_documents", "Documents in memory", metrics.open_documents);
    line(
        "gauge",
        "read_only",
        "1 after a failed write: nothing is acknowledged any more",
        u64::from(metrics.read_only.is_some()),
    );
    let space = &metrics.space;
    line("gauge", "disk_used_percent", "How full the disk is, as df counts", space.used_percent.into());
    line(
        "gauge",
        "disk_level",
        "0 fine, 1 warned, 2 no new documents, 3 on the reserve, 4 full",
        space.level as u64,
    );
    line("gauge", "disk_available_bytes", "Bytes that may still be written", space.available_bytes);
    line("gauge", "ballast", "1 while the file is there that a full disk gets back", space.ballast.into());
    latency(&mut out, metrics);
    out
}

#[expect(clippy::cast_precision_loss, reason = "seconds in Prometheus are floating point")]
fn latency(out: &mut String, metrics: &StoreMetrics) {
    let latency = &metrics.commit_latency;
    let _ = write!(
        out,
        "# HELP tombolo_commit_seconds Time of a group commit.\n# TYPE tombolo_commit_seconds histogram\n"
    );
    let mut below = 0;
    for (bound, count) in latency.bounds_us.iter().zip(&latency.counts) {
        below += count;
        let _ = writeln!(out, "tombolo_commit_seconds_bucket{{le=\"{}\"}} {below}", *bound as f64 / 1e6);
    }
    let total: u64 = latency.counts.iter().sum();
    let _ = writeln!(out, "tombolo_commit_seconds_bucket{{le=\"+Inf\"}} {total}");
    let _ = writeln!(
        out,
        "tombolo_commit_seconds_sum {}\ntombolo_commit_seconds_count {total}",
        latency.sum_us as f64 / 1e6
    );
}
