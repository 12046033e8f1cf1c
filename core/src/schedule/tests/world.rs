//! A slow link in virtual time, with a socket's buffer that takes everything at once: what was sent cannot be overtaken.

use std::collections::VecDeque;

use super::{ScheduleConfig, Scheduler, Sending};
use crate::time::Millis;

/// What arrived, and when it was pushed and arrived in ms.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) sending: Sending<u64>,
    pub(super) pushed: u64,
    pub(super) at: u64,
}

pub(super) struct World {
    pub(super) scheduler: Scheduler<u64>,
    pub(super) now: u64,
    /// Bytes per second.
    pub(super) rate: u64,
    /// Without any queue, in ms.
    pub(super) trip: u64,
    pub(super) arrived: Vec<Arrival>,
    /// When what was sent last has left the buffer, in µs.
    free: u64,
    /// Sent, and when it arrives in ms.
    way: VecDeque<(u64, Sending<u64>)>,
    /// Bytes whose answer comes at a time in ms.
    answers: VecDeque<(u64, usize)>,
    /// Most bytes in the socket's buffer.
    pub(super) buffered: u64,
}

impl World {
    pub(super) fn new(rate: u64, trip: u64) -> Self {
        Self {
            scheduler: Scheduler::new(ScheduleConfig::default(), Millis(0)),
            now: 0,
            rate,
            trip,
            arrived: Vec::new(),
            free: 0,
            way: VecDeque::new(),
            answers: VecDeque::new(),
            buffered: 0,
        }
    }

    /// Pushes an item that says when it was pushed.
    pub(super) fn push(&mut self, lane: u64, priority: super::Priority, bytes: usize) {
        self.scheduler.push(lane, priority, bytes, self.now, Millis(self.now));
    }

    /// Lets so many ms pass, and calls `each` in each of them.
    pub(super) fn run(&mut self, ms: u64, mut each: impl FnMut(&mut Self)) {
        for _ in 0..ms {
            self.now += 1;
            while let Some((at, sending)) = self.way.pop_front_if(|(at, _)| *at <= self.now) {
                self.answers.push_back((at + self.trip / 2, sending.bytes));
                let pushed = sending.item;
                self.arrived.push(Arrival { sending, pushed, at });
            }
            while let Some((_, bytes)) = self.answers.pop_front_if(|(at, _)| *at <= self.now) {
                self.scheduler.delivered(Millis(self.now), bytes);
            }
            each(self);
            while let Some(sending) = self.scheduler.next(Millis(self.now)) {
                let start = self.free.max(self.now * 1_000);
                self.free = start + sending.bytes as u64 * 1_000_000 / self.rate;
                self.way.push_back((self.free.div_ceil(1_000) + self.trip / 2, sending));
            }
            let waits = self.free.saturating_sub(self.now * 1_000);
            self.buffered = self.buffered.max(waits * self.rate / 1_000_000);
        }
    }

    pub(super) fn arrived_bytes(&self, keep: impl Fn(&Arrival) -> bool) -> usize {
        self.arrived.iter().filter(|arrival| keep(arrival)).map(|arrival| arrival.sending.bytes).sum()
    }
}
