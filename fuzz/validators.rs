//! What a client sends, judged before anything decodes it.

use bytes::Bytes;
use tombolo_core::dialect::{automerge_repo, hocuspocus, native, replica, y_protocols, y_webrtc};
use tombolo_core::update::{Coverage, InvalidUpdate, Pager, StateVector, Update, diff, merge};
use tombolo_core::validate::{AwarenessUpdate, SyncOutline, validate_chunks, validate_sync_message};

/// Whatever parses can be merged, cut and parsed again.
pub fn update(data: &[u8]) {
    let _ = StateVector::parse(data);
    let Ok(update) = Update::parse(Bytes::copy_from_slice(data)) else { return };
    let mut known = Coverage::default();
    known.add(&update);
    assert!(known.covers(&update));
    let half = update.blocks().map(|(client, start, end)| (client, start.midpoint(end))).collect();
    paged(&update, &known);
    for bytes in [merge(&[update.clone(), update.clone()]), diff(&[update], &half)] {
        let again = Update::parse(bytes);
        assert!(matches!(again, Ok(_) | Err(InvalidUpdate::ParentNoType { .. })), "{again:?}");
    }
}

/// Pages of any size are the whole, each with its ground in those before it if the whole has its own; a page is too large
/// only if it is a single struct, or a circle.
fn paged(update: &Update, whole: &Coverage) {
    let has_ground = Coverage::default().admits(update);
    for bytes_max in [1, update.bytes().len() / 2, update.bytes().len()] {
        let (mut pager, mut reached, mut pages) = (Pager::new(update.clone()), Coverage::default(), 0);
        while let Some(page) = pager.page(bytes_max) {
            let page = match Update::parse(page) {
                Ok(page) => page,
                // What stood beside its parent in the whole.
                Err(InvalidUpdate::ParentNoType { .. }) => return,
                Err(error) => panic!("a page cannot be read: {error}"),
            };
            assert!(reached.admits(&page) || !has_ground, "a page comes before its ground");
            reached.add(&page);
            pages += 1;
        }
        assert!(pages > 0 && pager.is_done());
        assert!(reached.includes(whole) && whole.includes(&reached), "the pages are not the whole");
    }
}

/// Whatever parses comes back.
pub fn awareness(data: &[u8]) {
    if let Ok(update) = AwarenessUpdate::parse(data) {
        assert_eq!(AwarenessUpdate::parse(&update.encode()), Ok(update));
    }
}

/// Neither check panics or hangs, and what is valid can be read.
pub fn automerge(data: &[u8]) {
    let _ = validate_chunks(data);
    if validate_sync_message(data).is_ok() {
        SyncOutline::of(data).expect("what is valid has an outline");
    }
}

/// No parser panics; an automerge-repo or native message that parses is written so that it parses to the same again.
pub fn dialects(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let _ = y_protocols::parse(&frame);
    if let Ok(hocuspocus::Incoming::Addressed { address, .. }) = hocuspocus::parse(&frame) {
        assert!(address.prefix().ends_with(address.document().as_bytes()) || address.prefix().contains(&0));
    }
    if let Ok(Ok(Some(y_webrtc::Message::Publish(publication)))) =
        std::str::from_utf8(data).map(y_webrtc::parse)
    {
        assert!(matches!(
            y_webrtc::parse(&publication.for_subscribers(7)),
            Ok(Some(y_webrtc::Message::Publish(_)))
        ));
    }
    if let Ok(Some(message)) = automerge_repo::parse(&frame) {
        assert_eq!(automerge_repo::parse(&message.encode()).ok(), Some(Some(message)));
    }
    if let Ok(message) = native::parse(&frame) {
        assert_eq!(native::parse(&message.encode().into()).ok(), Some(message));
    }
    if let Ok(replica::Message::Sync { handle, message }) = replica::parse(&frame) {
        let again = replica::parse(&replica::sync(handle, &message).into());
        assert!(matches!(again, Ok(replica::Message::Sync { message: same, .. }) if same == message));
    }
}
