//! What was measured, as Markdown.

use std::io;
use std::process::Command;
use std::time::Duration;

use super::client::Cost;

/// The cells of a row.
pub(crate) type Row = Vec<String>;

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn median<T: Copy + Default + Ord>(values: &[T]) -> T {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// On what, of which code, and beside what.
pub(crate) fn heading() -> io::Result<String> {
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "Commit {}, {cores} cores, Linux {}, load of {} when it began.\n",
        commit.unwrap_or_default(),
        kernel.trim(),
        load.split_whitespace().next().unwrap_or_default()
    ))
}

pub(crate) fn table(title: &str, words: &str, columns: &[&str], rows: &[Row]) -> String {
    let mut table = format!("### {title}\n\n{words}\n\n| {} |\n", columns.join(" | "));
    table += &format!("| --- |{}\n", " --: |".repeat(columns.len() - 1));
    for row in rows {
        let missing = " |".repeat(columns.len() - row.len());
        table += &format!("| {} |{missing}\n", row.join(" | "));
    }
    table + "\n"
}

/// In the columns of `join`.
pub(crate) fn row(name: &str, costs: &[Cost]) -> Row {
    let mean = |of: fn(&Cost) -> Duration| {
        costs.iter().map(|cost| ms(of(cost))).sum::<f64>() / costs.len().max(1) as f64
    };
    let times = |of: fn(&Cost) -> Duration| ms(median(&costs.iter().map(of).collect::<Vec<_>>()));
    let bytes = |of: fn(&Cost) -> u64| median(&costs.iter().map(of).collect::<Vec<_>>()) as f64 / 1e3;
    vec![
        name.to_owned(),
        format!("{:.1}", times(|cost| cost.there)),
        format!("{:.1}", times(|cost| cost.in_sync)),
        format!("{:.0}", mean(|cost| cost.client)),
        format!("{:.0}", mean(|cost| cost.server)),
        format!("{:.2}", bytes(|cost| cost.bytes.down)),
        format!("{:.2}", bytes(|cost| cost.bytes.up)),
    ]
}
