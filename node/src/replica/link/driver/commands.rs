//! What its owner tells a link to do.

use std::time::SystemTime;

use tombolo_core::id::DocumentId;

use super::Driver;
use crate::replica::link::Command;

impl Driver {
    /// False if it is to end.
    pub(super) fn obey(&mut self, command: Command) -> bool {
        let now = self.now();
        match command {
            Command::End => return false,
            Command::Hurry(wish) => self.session.hurry(now, wish, Some(self.shelves.store.stamp())),
            Command::NetworkChanged => self.link.network_changed(now),
            Command::Opened(document) => self.opened(&document),
            Command::Retry(document) => {
                self.link.retry(now);
                match document {
                    Some(document) => self.session.retry(now, &document),
                    None => {
                        let lagging: Vec<_> = self.session.lagging().map(|(id, _)| id.clone()).collect();
                        lagging.iter().for_each(|id| self.session.retry(now, id));
                    }
                }
            }
            Command::Explain(document, answer) => drop(answer.send(self.session.standing(&document))),
            Command::Lagging(answer) => {
                let lagging = self.session.lagging().map(|(id, standing)| (id.clone(), standing));
                let _ = answer.send(lagging.collect());
            }
            Command::Decide(decision, done) => {
                self.staleness.decide(decision.clone(), SystemTime::now(), &mut self.session);
                self.board.write(|status| status.decided(decision));
                self.show();
                let _ = done.send(());
            }
            Command::Vouch(question) => self.vouch(question),
            Command::LetGo(done) => self.let_go(done),
            Command::DropParked(document, done) => self.drop_parked(&document, done),
            Command::Evicted(document) => self.find(document),
            Command::Fetch(document, wanted) => self.fetch(&document, wanted),
            Command::Mode(mode) => self.scheduler.set_mode(mode, now),
            Command::Priority(document, priority) => {
                self.session.set_priority(&document, priority);
                self.priorities.insert(document, priority);
            }
        }
        true
    }

    pub(super) fn opened(&mut self, document: &DocumentId) {
        if self.subscription.has(document) && !self.session.has(document) {
            self.add(document, 0);
        }
    }

    /// Somebody looks at who is in a document, which stays open for that; or nobody any more.
    pub(super) fn watch(&mut self, document: &DocumentId, watched: bool) {
        if watched {
            self.opened(document);
        }
        // A goodbye first.
        self.showing.show(&mut self.session, 0);
        self.session.watch(document, watched);
    }
}
