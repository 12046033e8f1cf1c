//! The programs of the README's "In your Rust app", word for word: they are the examples `readme_…`, which are run here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::command_line::tombolo;

const PROGRAMS: [&str; 3] = ["readme_edit", "readme_automerge", "readme_link"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Built beside this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build -p tombolo --examples", path.display());
    path
}

fn run(name: &str, folder: &Path) -> String {
    let Output { status, stdout, stderr } = Command::new(example(name)).current_dir(folder).output().unwrap();
    let words = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{name}: {words}{}", String::from_utf8_lossy(&stderr));
    words
}

#[test]
fn they_stand_there_word_for_word() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let section = readme.split("## In your Rust app").nth(1).unwrap().split("\n## ").next().unwrap();
    let programs = section.split("```rust,no_run\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    assert_eq!(programs.clone().count(), PROGRAMS.len());
    for (program, name) in programs.zip(PROGRAMS) {
        let path = repository().join(format!("node/examples/{name}.rs"));
        let example = std::fs::read_to_string(&path).unwrap();
        let (_, code) = example.split_once("\n\n").unwrap();
        assert_eq!(code, program, "{name}");
    }
}

#[test]
fn they_do_what_is_said_of_them_offline_and_linked() {
    let folder = tempfile::tempdir().unwrap();
    // One at a time has the folder, and what one leaves the next one finds.
    let first = run("readme_edit", folder.path());
    assert!(first.starts_with("saved ") && first.contains("Milk, bread, salt"), "{first}");
    let second = run("readme_automerge", folder.path());
    assert!(second.starts_with("automerge:") && second.ends_with(" has 1 items\n"), "{second}");
    // Nobody is there, or whoever has this port on this machine: it works on either way.
    let alone = run("readme_link", folder.path());
    assert!(alone.contains("Local: ") && alone.contains("ws://127.0.0.1:8484/replica: in sync: "), "{alone}");
}

#[test]
fn a_server_keeps_what_the_linked_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = tombolo(&["serve", "--data"]);
    let mut server = serve.arg(folder.path().join("data")).spawn().unwrap();
    // A server of somebody else at the usual port would be as good, but is not ours to judge.
    let ours = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::net::TcpStream::connect("127.0.0.1:8484").is_ok()
    }) && server.try_wait().unwrap().is_none();
    let words = ours.then(|| run("readme_link", folder.path()));
    server.kill().unwrap();
    server.wait().unwrap();
    match words {
        Some(words) => assert!(words.contains("in sync: true, kept there: Some(true)"), "{words}"),
        None => eprintln!("SKIPPED a_server_keeps_what_the_linked_one_writes: port 8484 is in use"),
    }
}
