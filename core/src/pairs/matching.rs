//! Who is paired with whom.

use bytes::Bytes;

use super::effect::{Effect, RESET};
use super::machine::Pairs;
use super::member::{Member, PATIENCE_MS_MAX};
use crate::room::MemberId;
use crate::time::Millis;

impl Pairs {
    /// Pairs a member as it stands now: one that has caught up with all that hold the document, any other with one
    /// of them. Where nobody else holds it, who has it holds it.
    pub(super) fn settle(&mut self, now: Millis, id: MemberId) {
        let Some(member) = self.members.get(&id).filter(|member| member.open && !member.holds) else {
            return;
        };
        let partner = member.all_partners().next();
        if !member.has {
            if partner.is_none() {
                self.choose(now, id);
            }
            return;
        }
        let is_level = partner.and_then(|partner| self.members.get(&partner)).is_some_and(|partner| {
            member.delivered || (!member.heads.is_empty() && partner.heads == member.heads)
        });
        if is_level || (partner.is_none() && !self.choose(now, id)) {
            self.hold(now, id);
        }
    }

    /// A member has not got the document any more.
    pub(super) fn lost(&mut self, now: Millis, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        (member.has, member.holds) = (false, false);
        member.heads.clear();
        for partner in self.partners(id) {
            self.replace(now, partner, id);
        }
    }

    /// One partner has gone or has nothing to give: another takes its slot, if the member needs one.
    pub(super) fn replace(&mut self, now: Millis, id: MemberId, old: MemberId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let slot = member.free_slot(old);
        let (holds, has) = (member.holds, member.has);
        member.deadline = None;
        if let Some(other) = self.members.get_mut(&old) {
            other.free_slot(id);
        }
        if holds || self.choose(now, id) {
            return;
        }
        if has {
            self.hold(now, id);
        } else if let Some(slot) = slot {
            self.effects.push_back(Effect::Unavailable { to: id, slot, asked_for: false });
        }
    }

    /// The partner of a member was silent for too long. If there is no other to choose, a member that has the
    /// document at all stands for itself.
    pub(super) fn pass_over(&mut self, now: Millis, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.patience = (member.patience * 2).min(PATIENCE_MS_MAX);
        member.deadline = Some(now.plus(member.patience));
        let (current, has) = (member.all_partners().next(), member.has);
        let next = self.candidate(id);
        if next.is_some() && next != current {
            if let Some(current) = current {
                self.part(id, current);
            }
            self.choose(now, id);
        } else if has {
            self.hold(now, id);
        }
    }

    /// Pairs a member that does not hold the document with one that does.
    fn choose(&mut self, now: Millis, id: MemberId) -> bool {
        let Some(candidate) = self.candidate(id) else { return false };
        self.pair(now, id, candidate);
        true
    }

    /// The next member after the last partner that holds the document and did not say otherwise.
    fn candidate(&self, id: MemberId) -> Option<MemberId> {
        let member = self.members.get(&id)?;
        let may = |other: &MemberId, about: &Member| {
            *other != id && about.seated && about.holds && !member.refused.contains(other)
        };
        let mut all = self.members.iter().filter(|(other, about)| may(other, about)).map(|(other, _)| *other);
        let first = all.next()?;
        let after = std::iter::once(first).chain(all).find(|other| Some(*other) > member.last);
        Some(after.unwrap_or(first))
    }

    /// A member has caught up: it is paired with everybody that holds the document, and with those that nobody could
    /// give it to.
    fn hold(&mut self, now: Millis, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.holds = true;
        member.deadline = None;
        let (mine, refused) =
            (self.partners(id), &self.members.get(&id).map(|member| member.refused.clone()));
        let may = |other: &MemberId, about: &Member| {
            *other != id
                && about.seated
                && about.open
                && !mine.contains(other)
                && !about.refused.contains(&id)
                && !refused.as_ref().is_some_and(|refused| refused.contains(other))
                && (about.holds || about.all_partners().next().is_none())
        };
        let others: Vec<_> =
            self.members.iter().filter(|(other, about)| may(other, about)).map(|(other, _)| *other).collect();
        for other in others {
            self.pair(now, other, id);
        }
    }

    fn pair(&mut self, now: Millis, one: MemberId, other: MemberId) {
        for (id, partner) in [(one, other), (other, one)] {
            let Some(member) = self.members.get_mut(&id) else { continue };
            let slot = member.take_slot(partner);
            if !member.holds {
                member.last = Some(partner);
                (member.asked, member.delivered) = (false, false);
                member.deadline = Some(now.plus(member.patience));
            }
            let asked_for = self.acting == Some(id);
            let data = Bytes::from_static(&RESET);
            self.effects.push_back(Effect::Sync { to: id, slot, data, asked_for });
        }
    }

    fn part(&mut self, one: MemberId, other: MemberId) {
        for (id, partner) in [(one, other), (other, one)] {
            if let Some(member) = self.members.get_mut(&id) {
                member.free_slot(partner);
            }
        }
    }
}
