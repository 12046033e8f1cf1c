//! Whose turn it is: classes by their shares, the lanes of a class one after the other.

use std::collections::BTreeMap;

use super::priority::Priority;

/// One class.
#[derive(Debug, Default)]
struct Class {
    /// Its lanes by when they got in line.
    line: BTreeMap<u64, u64>,
    /// What waits in them.
    bytes: usize,
    /// What it sent, divided by its share.
    spent: u64,
}

/// A lane's place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    class: Priority,
    ticket: u64,
    bytes: usize,
}

/// The lines of all classes.
#[derive(Debug, Default)]
pub(super) struct Turns {
    classes: [Class; 4],
    ticket: u64,
    /// What the class that was served last had spent: who comes back starts there and has saved nothing up.
    spent: u64,
}

impl Turns {
    /// Puts a lane that waits with so many bytes at the end of the line of its class, or leaves it where it is
    /// in that line.
    pub(super) fn enter(&mut self, lane: u64, class: Priority, bytes: usize, place: Option<Place>) -> Place {
        let stays = place.filter(|place| place.class == class).map(|place| place.ticket);
        if let Some(place) = place {
            self.leave(place);
        }
        self.ticket += 1;
        let place = Place { class, ticket: stays.unwrap_or(self.ticket), bytes };
        if self.bytes(class).is_none() && stays.is_none() {
            self.resume(class);
        }
        let class = self.class(class);
        class.line.insert(place.ticket, lane);
        class.bytes = class.bytes.saturating_add(bytes);
        place
    }

    /// Takes a lane out of its line.
    pub(super) fn leave(&mut self, place: Place) {
        let class = self.class(place.class);
        class.line.remove(&place.ticket);
        class.bytes = class.bytes.saturating_sub(place.bytes);
    }

    /// The lane whose turn it is among these classes.
    pub(super) fn first(&self, may: impl Fn(Priority) -> bool) -> Option<u64> {
        let waiting = Priority::ALL.into_iter().filter(|class| may(*class) && self.bytes(*class).is_some());
        let first = waiting.min_by_key(|class| {
            (*class != Priority::Critical, self.classes.get(*class as usize).map(|class| class.spent))
        })?;
        self.classes.get(first as usize)?.line.values().next().copied()
    }

    /// The lane at this place sends so many bytes and leaves its line.
    pub(super) fn serve(&mut self, place: Place, bytes: usize) {
        self.leave(place);
        if let Some(eighths) = place.class.eighths() {
            // At least something for an item, or empty ones would be free.
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(1);
            let class = self.class(place.class);
            let before = class.spent;
            class.spent = class.spent.saturating_add(bytes.saturating_mul(40) / eighths);
            self.spent = before;
        }
    }

    /// A class may send again that was held back: what it did not send meanwhile is not owed to it.
    pub(super) fn resume(&mut self, class: Priority) {
        let spent = self.spent;
        let class = self.class(class);
        class.spent = class.spent.max(spent);
    }

    /// Bytes that wait in a class; nothing if no lane is in it.
    pub(super) fn bytes(&self, class: Priority) -> Option<usize> {
        self.classes.get(class as usize).filter(|class| !class.line.is_empty()).map(|class| class.bytes)
    }

    fn class(&mut self, class: Priority) -> &mut Class {
        let [low, normal, high, critical] = &mut self.classes;
        match class {
            Priority::Low => low,
            Priority::Normal => normal,
            Priority::High => high,
            Priority::Critical => critical,
        }
    }
}
