//! The repository held to its own rules, so that nobody has to remember them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CRATES: [&str; 4] = ["core", "store", "relay", "node"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder that ends like this.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "node_modules" | "target" | "dist") {
            files(&path, ending, found);
        } else if path.is_file() && name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in CRATES.iter().chain(&["benches", "fuzz"]) {
        files(&root().join(name), ".rs", &mut found);
    }
    assert!(found.len() > 80, "only {} files found", found.len());
    found
}

#[test]
fn a_file_has_one_subject_and_says_which() {
    for path in rust_files() {
        let text = read(&path);
        assert!(text.lines().count() <= 500, "{} is longer than 500 lines", path.display());
        let fuzz_target = path.to_string_lossy().contains("fuzz_targets");
        assert!(fuzz_target || text.starts_with("//!"), "{} does not say why it exists", path.display());
        for unfinished in ["todo!(", "unimplemented!(", "#[ignore"] {
            let here = path.ends_with("tests/it/tidy.rs");
            assert!(here || !text.contains(unfinished), "{} has {unfinished}", path.display());
        }
    }
}

#[test]
fn every_cited_hazard_is_in_the_list() {
    let listed: BTreeSet<String> = read(&root().join("HAZARDS.md"))
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next().map(str::to_owned))
        .collect();
    let mut cited = 0;
    for path in rust_files() {
        for word in read(&path).split(|c: char| !c.is_alphanumeric() && c != '-') {
            let number =
                ["sled-", "redb-", "yrs-", "am-"].iter().find_map(|engine| word.strip_prefix(engine));
            if number.is_some_and(|number| number.parse::<u8>().is_ok()) {
                assert!(
                    listed.contains(word),
                    "{} cites {word}, which HAZARDS.md does not list",
                    path.display()
                );
                cited += 1;
            }
        }
    }
    assert!(cited > 30, "only {cited} citations found");
}

fn tree(package: &str, more: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none"])
        .args(more)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn layers_point_down_only() {
    let relay = tree("tombolo-relay", &[]);
    assert!(relay.contains("tokio"));
    for absent in ["yrs", "automerge", "sled", "redb", "tombolo-store", "tombolo"] {
        assert!(!relay.contains(absent), "the relay must not depend on {absent}");
    }
    let core = tree("tombolo-core", &["--features", "engines"]);
    assert!(core.contains("yrs"));
    for absent in ["tokio", "mio", "sled", "redb", "tombolo-store", "tombolo-relay"] {
        assert!(!core.contains(absent), "core must not depend on {absent}");
    }
    let store = tree("tombolo-store", &[]);
    for absent in ["tokio", "hyper", "tombolo-relay"] {
        assert!(!store.contains(absent), "the store must not depend on {absent}");
    }
}

#[test]
fn documents_are_in_step_with_the_code() {
    let root = root();
    let readme = read(&root.join("README.md"));
    let arguments = read(&root.join("node/src/cli/args.rs"));
    for flag in [
        "listen",
        "open",
        "allow-origin",
        "drop-in",
        "proxy",
        "trust-proxy",
        "peer-token",
        "token",
        "read-only-token",
        "limit",
        "data",
        "log",
        "config",
        "ack",
        "admin",
        "backplane",
        "relay",
    ] {
        assert!(readme.contains(&format!("`--{flag}")), "README.md does not tell of --{flag}");
        let variable = format!("TOMBOLO_{}", flag.to_uppercase().replace('-', "_"));
        assert!(arguments.contains(&variable), "--{flag} has no variable");
    }
    let more =
        read(&root.join("node/src/cli/store_args.rs")) + &read(&root.join("node/src/cli/note_args.rs"));
    for flag in [
        "json",
        "prefix",
        "limit",
        "deleted",
        "to",
        "as",
        "root",
        "automerge",
        "apply",
        "text",
        "from",
        "tag",
        "remove",
        "replace",
    ] {
        assert!(readme.contains(&format!("`--{flag}")), "README.md does not tell of --{flag}");
        let has = more.contains(&format!("pub(super) {flag}:")) || more.contains(&format!("\"{flag}\""));
        assert!(has || more.contains(&format!("    {flag}: ")), "there is no --{flag}");
    }
    for command in ["cargo run --release -- serve", "./check"] {
        assert!(readme.contains(command), "README.md does not tell of {command}");
    }
    let metrics = read(&root.join("relay/src/metrics.rs")) + &read(&root.join("node/src/http/metrics.rs"));
    for line in readme.lines().filter_map(|line| line.strip_prefix("| `tombolo_")) {
        let name = line.split(['`', '{']).next().unwrap();
        let name = name.strip_suffix("_total").unwrap_or(name);
        assert!(
            metrics.contains(&format!("\"{name}\"")) || metrics.contains(&format!("tombolo_{name}")),
            "{name}"
        );
    }
    assert!(read(&root.join("CHANGELOG.md")).contains("## Unreleased"));
    let architecture = read(&root.join("ARCHITECTURE.md"));
    for name in CRATES {
        assert!(architecture.contains(&format!("`{name}/`")), "ARCHITECTURE.md does not tell of {name}/");
    }
}

/// The README's defaults, set as they stand there, change nothing.
#[test]
fn every_limit_is_listed_with_its_default() {
    let readme = read(&root().join("README.md"));
    let mut config = tombolo_relay::RelayConfig::new(([127, 0, 0, 1], 0).into());
    let defaults = format!("{config:?}");
    for name in tombolo::limits::names() {
        let start = format!("| `{name}` | `");
        let row = readme.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("README.md does not list the limit {name}"));
        tombolo::limits::set(&mut config, name, row.split('`').next().unwrap()).unwrap();
        assert_eq!(format!("{config:?}"), defaults, "{name}");
    }
}

#[test]
fn every_fixture_is_used() {
    let root = root();
    let mut users = rust_files();
    for folder in ["interop", "benches"] {
        files(&root.join(folder), ".mjs", &mut users);
    }
    let used: String = users.iter().map(|path| read(path)).collect();
    let mut fixtures = Vec::new();
    for ending in [".hex", ".gz", ".bin"] {
        files(&root.join("fixtures"), ending, &mut fixtures);
    }
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        let name = fixture.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.split('.').next().unwrap();
        assert!(used.contains(stem), "{} is used by no test", fixture.display());
    }
}
