//! The merge worker in processes of its own: the same answers, and whatever happens there stays there.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::engine::view::Form;
use tombolo_core::engine::yjs;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::Kind;
use tombolo_store::worker::{
    ProcessConfig, ProcessWorker, Reply, Request, ThreadWorker, Worker, WorkerError,
};

pub const GIB: u64 = 1024 * 1024 * 1024;

pub fn start(memory_bytes: u64, request_ms_max: u64) -> Arc<ProcessWorker> {
    let arguments = vec!["merge-worker".into(), "--memory-bytes".into(), memory_bytes.to_string().into()];
    let program = env!("CARGO_BIN_EXE_tombolo").into();
    ProcessWorker::start(ProcessConfig { program, arguments, request_ms_max }).unwrap()
}

/// Client 1 typing "hi" into the text "t", as captured.
pub fn hi() -> Vec<Bytes> {
    vec![Bytes::from_static(&[1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0])]
}

pub fn fold(parts: Vec<Bytes>) -> Request {
    Request::Compact { kind: Kind::YjsUpdate, parts }
}

fn text(reply: Result<Reply, WorkerError>) -> String {
    let Ok(Reply::Snapshot(snapshot)) = reply else { panic!("{reply:?}") };
    yjs::text(&[snapshot], "t").unwrap()
}

#[test]
fn a_process_answers_as_a_thread_does() {
    let workers: [Arc<dyn Worker>; 2] = [start(2 * GIB, 60_000), ThreadWorker::start().unwrap()];
    for worker in workers {
        assert_eq!(text(worker.call(fold(hi()))), "hi");
        let (format, root) = (Format::Yjs, None);
        let view = Request::View { format, form: Form::Json, root, parts: hi() };
        assert_eq!(worker.call(view), Ok(Reply::View(Bytes::from_static(br#"{"t":"hi"}"#))));
        let (root, content) = (Some("t".to_owned()), Bytes::from_static(b"made"));
        let made = worker.call(Request::Make { format, form: Form::Text, root, content });
        let Ok(Reply::View(made)) = made else { panic!("{made:?}") };
        assert_eq!(yjs::text(&[made], "t").unwrap(), "made");
        let document = DocumentId::Automerge([1; 16]);
        let open = Request::SessionOpen { document: document.clone(), parts: vec![] };
        assert_eq!(worker.call(open), Ok(Reply::Opened { empty: true }));
        assert_eq!(
            worker.call(Request::SessionJoin { document: document.clone(), peer: 7 }),
            Ok(Reply::Done)
        );
        let generated = worker.call(Request::SessionGenerate { document: document.clone() });
        assert!(matches!(generated, Ok(Reply::Generated { empty: true, .. })), "{generated:?}");
        let stranger = Request::SessionReceive {
            document: document.clone(),
            peer: 8,
            message: Bytes::from_static(b"B"),
        };
        assert_eq!(worker.call(stranger), Err(WorkerError::NoSession));
        let left = worker.call(Request::SessionLeave { document: document.clone(), peer: 7 });
        assert_eq!(left, Ok(Reply::Left { closed: true }));
        let refused = worker.call(fold(vec![Bytes::from_static(b"no update")]));
        assert!(matches!(refused, Err(WorkerError::Refused { .. })), "{refused:?}");
    }
}

/// The merge processes whose command line bears this mark.
fn processes(mark: u64) -> Vec<String> {
    let names =
        std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_ours = |process: &String| {
        let line = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        line.contains("merge-worker") && line.contains(&mark.to_string())
    };
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_ours).collect()
}

/// Sends a signal to all of them and waits until each is in the state that it leads to.
pub fn signal(name: &str, mark: u64, states: &[&str]) {
    let found = processes(mark);
    assert!(!found.is_empty());
    for process in found {
        let kill = format!("kill -{name} {process}");
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let state = || {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("X (gone)");
            line.split_whitespace().next().unwrap().to_owned()
        };
        while !states.contains(&state().as_str()) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_killed_process_is_replaced_and_its_sessions_are_known_to_be_gone() {
    let mark = 2 * GIB + 4096;
    let worker = start(mark, 60_000);
    assert_eq!(text(worker.call(fold(hi()))), "hi");
    let document = DocumentId::Automerge([1; 16]);
    let open = Request::SessionOpen { document: document.clone(), parts: vec![] };
    assert_eq!(worker.call(open.clone()), Ok(Reply::Opened { empty: true }));
    signal("KILL", mark, &["Z", "X"]);
    // Whether the death is noticed before or with the next request, the one after that is answered.
    let _ = worker.call(fold(hi()));
    assert_eq!(text(worker.call(fold(hi()))), "hi");
    let join = || worker.call(Request::SessionJoin { document: document.clone(), peer: 7 });
    let first = join();
    // On a busy machine the death of the process that had it is noticed only now.
    let is_gone = |error: &WorkerError| {
        matches!(error, WorkerError::NoSession | WorkerError::Died { .. } | WorkerError::Unavailable { .. })
    };
    assert!(first.as_ref().is_err_and(is_gone), "{first:?}");
    assert_eq!(worker.call(open), Ok(Reply::Opened { empty: true }));
    assert_eq!(join(), Ok(Reply::Done));
}

#[test]
fn a_stalled_process_is_ended_and_replaced() {
    let mark = 2 * GIB + 8192;
    let worker = start(mark, 2_000);
    assert_eq!(text(worker.call(fold(hi()))), "hi");
    signal("STOP", mark, &["T"]);
    let stalled = worker.call(fold(hi()));
    assert!(
        matches!(&stalled, Err(WorkerError::Died { reason }) if reason.contains("longer than")),
        "{stalled:?}"
    );
    assert_eq!(text(worker.call(fold(hi()))), "hi");
}

#[test]
fn a_view_that_dies_holds_up_no_fold() {
    let worker = start(400 * 1024 * 1024, 60_000);
    let (format, root) = (Format::Yjs, Some("t".to_owned()));
    let content = Bytes::from(vec![b'x'; 512 * 1024 * 1024]);
    let died = worker.call(Request::Make { format, form: Form::Text, root, content });
    assert!(matches!(died, Err(WorkerError::Died { .. })), "{died:?}");
    assert_eq!(text(worker.call(fold(hi()))), "hi");
    let view = Request::View { format, form: Form::Text, root: None, parts: hi() };
    assert_eq!(worker.call(view), Ok(Reply::View(Bytes::from_static(b"hi"))));
}

#[test]
fn a_process_that_wants_too_much_memory_dies_alone() {
    // Its stack and program take most of this.
    let worker = start(400 * 1024 * 1024, 60_000);
    assert_eq!(text(worker.call(fold(hi()))), "hi");
    let large = vec![Bytes::from(vec![0; 512 * 1024 * 1024])];
    let died = worker.call(fold(large));
    assert!(matches!(died, Err(WorkerError::Died { .. })), "{died:?}");
    assert_eq!(text(worker.call(fold(hi()))), "hi");
}

/// A merge process whose parent reads nothing any more and writes these bytes before it is gone.
fn orphan(last: &[u8]) -> Output {
    let mut orphan = Command::new(env!("CARGO_BIN_EXE_tombolo"));
    orphan.args(["merge-worker", "--memory-bytes", &(2 * GIB).to_string()]);
    let mut orphan =
        orphan.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(orphan.stdout.take());
    orphan.stdin.take().unwrap().write_all(last).unwrap();
    orphan.wait_with_output().unwrap()
}

#[test]
fn a_process_whose_server_was_killed_ends_without_a_word() {
    let fold = [&[0, Kind::YjsUpdate.tag(), 1, 12][..], &hi()[0]].concat();
    let request = [&u32::try_from(fold.len()).unwrap().to_be_bytes()[..], &fold].concat();
    for (what, last) in [
        ("nothing", &[][..]),
        ("half a length", &request[..2]),
        ("half a request", &request[..9]),
        ("a request that nobody waits for", &request),
        ("one and a half", &[&request[..], &request[..9]].concat()),
    ] {
        let ended = orphan(last);
        assert_eq!(
            (ended.status.code(), String::from_utf8_lossy(&ended.stderr)),
            (Some(0), "".into()),
            "{what}"
        );
    }
    let ended = orphan(&[0, 0, 0, 1, 99]);
    assert_eq!(ended.status.code(), Some(1), "what is no request is an error still");
}
