//! What is known of a document without its structs: the same as with them, and as sure to be what was written.

use tombolo_core::update::{Outline, Update};
use tombolo_core::wire::lib0::{write_var_bytes, write_var_u64};

use super::super::document::DocumentRecord;
use super::*;

/// A document whose structs take many rows packed, and its deletes some.
fn update() -> Update {
    let mut bytes = vec![1];
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise >> 40
    };
    let structs = 12_000;
    write_var_u64(&mut bytes, structs);
    bytes.extend([7, 0]);
    for _ in 0..structs {
        bytes.extend([4, 1, 1, b't']);
        write_var_bytes(&mut bytes, format!("{:016}", next()).as_bytes());
    }
    bytes.extend([1, 7]);
    let deletes = 6_000u64;
    write_var_u64(&mut bytes, deletes);
    for at in 0..deletes {
        write_var_u64(&mut bytes, at * 8 + next() % 3);
        write_var_u64(&mut bytes, 1 + next() % 4);
    }
    Update::parse(bytes.into()).unwrap()
}

fn fold_with(shelf: &OpenShelf, id: &DocumentId, update: &Update, outline: Option<Outline>) {
    let snapshot = Some(update.bytes().clone());
    shelf.fold(id, &Fold { count: 7, snapshot, outline, ..Fold::default() }).unwrap();
}

#[test]
fn what_is_known_without_the_structs_is_what_they_say() {
    let update = update();
    for (engine, _folder) in engines() {
        let shelf = OpenShelf::uncounted(engine);
        let (id, other) = (document(1), document(2));
        assert_eq!(shelf.survey(&id, true).unwrap(), None);
        for id in [&id, &other] {
            fill(&shelf, &ten(id)).unwrap();
            assert_eq!(shelf.survey(id, false).unwrap(), None, "it has no snapshot");
        }
        fold_with(&shelf, &id, &update, update.outline());
        fold_with(&shelf, &other, &update, None);
        assert_eq!(shelf.survey(&other, false).unwrap(), None, "it has no outline");
        let stored = shelf.load(&id, false).unwrap().unwrap();
        assert_eq!(
            (stored.snapshot.as_ref(), stored.outline.as_ref()),
            (Some(update.bytes()), update.outline().as_ref())
        );
        let (version, survey) = shelf.survey(&id, false).unwrap().unwrap();
        assert_eq!(version, stored.record.version);
        assert_eq!(survey.outline, update.outline().unwrap());
        assert_eq!(survey.deletes, update.bytes()[survey.outline.deletes_at()..]);
        assert_eq!(survey.tail, payloads(&ten(&id)[7..]));
        assert_eq!(shelf.inspect(&std::collections::BTreeSet::new(), &mut |_, _| ()).faults, []);
    }
}

#[test]
fn an_outline_that_is_not_true_is_found() {
    let shelf = OpenShelf::uncounted(Box::new(MemoryShelf::default()));
    let (id, update) = (document(1), update());
    fill(&shelf, &ten(&id)).unwrap();
    let mut bytes = update.bytes().to_vec();
    let letter = bytes.iter().position(|byte| *byte == b't').unwrap();
    // Its first struct takes another part of its bytes now.
    bytes.splice(letter + 1..letter + 18, [16].into_iter().chain("é".repeat(8).bytes()));
    let other = Update::parse(bytes.into()).unwrap();
    assert_eq!(other.bytes().len(), update.bytes().len());
    fold_with(&shelf, &id, &other, update.outline());
    let faults = shelf.inspect(&std::collections::BTreeSet::new(), &mut |_, _| ()).faults;
    assert_eq!(faults[0].found, "the outline of its snapshot is that of another one");
}

#[test]
fn what_a_record_claims_is_no_reason_to_make_room() {
    let shelf = OpenShelf::uncounted(Box::new(MemoryShelf::default()));
    let (id, update) = (document(1), update());
    fill(&shelf, &ten(&id)).unwrap();
    fold_with(&shelf, &id, &update, update.outline());
    let record = shelf.record(&id, false).unwrap().unwrap();
    for (bytes, words) in [(1 << 59, "the snapshot claims an impossible size"), (1 << 30, "unpack")] {
        let row =
            DocumentRecord { snapshot_bytes: bytes, ..record.clone() }.to_row(&shelf.rows, &id).unwrap();
        shelf.rows.engine.batch(Tree::Documents, vec![row]).unwrap();
        let faults = [shelf.load(&id, false).err().unwrap(), shelf.survey(&id, false).err().unwrap()];
        for fault in faults {
            assert!(fault.to_string().contains(words), "{fault}");
        }
    }
}

#[test]
fn a_row_that_is_missing_or_changed_is_an_error() {
    let (id, update) = (document(1), update());
    let shelf = OpenShelf::uncounted(Box::new(MemoryShelf::default()));
    fill(&shelf, &ten(&id)).unwrap();
    fold_with(&shelf, &id, &update, update.outline());
    let mut rows = Vec::new();
    let engine = &shelf.rows.engine;
    let visit = &mut |key: &[u8], row: &[u8]| {
        rows.push((key.to_vec(), row.to_vec()));
        std::ops::ControlFlow::Continue(())
    };
    engine.scan(Tree::Snapshots, &[], None, visit).unwrap();
    assert!(rows.len() > 10, "{}", rows.len());
    let mut seen = Vec::new();
    for (key, row) in &rows {
        let put = |row| engine.batch(Tree::Snapshots, vec![(key.clone(), row)]).unwrap();
        let mut changed = row.clone();
        *changed.last_mut().unwrap() ^= 1;
        for damaged in [None, Some(changed)] {
            put(damaged);
            let is_damage = |error: &ShelfError| matches!(error, ShelfError::Damaged { .. });
            assert!(shelf.load(&id, false).is_err_and(|error| is_damage(&error)));
            match shelf.survey(&id, false) {
                Ok(survey) => assert!(survey.is_some()),
                Err(error) => {
                    assert!(is_damage(&error), "{error}");
                    seen.push(key.clone());
                }
            }
        }
        put(Some(row.clone()));
    }
    seen.dedup();
    assert!(seen.contains(&rows[0].0) && seen.contains(&rows[rows.len() - 1].0));
    assert!(seen.len() < rows.len() / 2, "{} of {} rows were read", seen.len(), rows.len());
}
