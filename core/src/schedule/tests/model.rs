//! Any calls in any order, against a plain list for each lane.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::limits::UPDATE_BYTES_MAX;

#[derive(Clone, Debug)]
enum Call {
    Push(u64, Priority, usize),
    Next,
    Delivered(usize),
    Reset,
    Mode(Mode),
    Pass(u64),
    Jump(u64),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let priority = prop::sample::select(&Priority::ALL[..]);
    let bytes = prop_oneof![10 => 0..2_000_usize, 5 => 0..100_000_usize, 1 => Just(usize::MAX)];
    let call = prop_oneof![
        8 => (0..5_u64, priority, bytes.clone()).prop_map(|(lane, it, bytes)| Call::Push(lane, it, bytes)),
        8 => Just(Call::Next),
        4 => bytes.prop_map(Call::Delivered),
        1 => Just(Call::Reset),
        1 => prop::sample::select(&[Mode::Normal, Mode::Saving][..]).prop_map(Call::Mode),
        2 => (0..40_000_u64).prop_map(Call::Pass),
        1 => prop_oneof![Just(u64::MAX), any::<u64>()].prop_map(Call::Jump),
    ];
    prop::collection::vec(call, 1..200)
}

/// What must be true of a scheduler.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<u64, VecDeque<(u64, usize)>>,
    flight: VecDeque<(u64, u64, usize)>,
    credit: usize,
    pushed: u64,
}

impl Model {
    fn send(&mut self, sending: &Sending<u64>) {
        let (item, bytes) = self.waiting.get_mut(&sending.lane).unwrap().pop_front().unwrap();
        assert_eq!((item, bytes), (sending.item, sending.bytes), "out of order in lane {}", sending.lane);
        self.flight.push_back((sending.lane, item, bytes));
    }

    fn deliver(&mut self, bytes: usize) {
        let all: usize = self.flight.iter().map(|(.., bytes)| bytes).sum();
        let mut credit = self.credit.saturating_add(bytes).min(all);
        while self.flight.front().is_some_and(|(.., bytes)| *bytes <= credit) {
            credit -= self.flight.pop_front().unwrap().2;
        }
        self.credit = credit;
    }

    fn reset(&mut self) {
        while let Some((lane, item, bytes)) = self.flight.pop_back() {
            self.waiting.get_mut(&lane).unwrap().push_front((item, bytes));
        }
        self.credit = 0;
    }

    fn check(&self, scheduler: &Scheduler<u64>) {
        assert_eq!(scheduler.len(), self.waiting.values().map(VecDeque::len).sum::<usize>());
        let bytes: usize = self.waiting.values().flatten().map(|(_, bytes)| bytes).sum();
        assert_eq!(scheduler.bytes(), bytes);
        let flight: usize = self.flight.iter().map(|(.., bytes)| bytes).sum();
        assert_eq!(scheduler.in_flight_bytes(), flight - self.credit);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(calls in calls()) {
        let mut scheduler = Scheduler::new(ScheduleConfig::default(), Millis(0));
        let mut model = Model::default();
        let mut now = 0;
        for call in calls {
            match call {
                Call::Push(lane, priority, bytes) => {
                    model.pushed += 1;
                    scheduler.push(lane, priority, bytes, model.pushed, Millis(now));
                    model.waiting.entry(lane).or_default().push_back((model.pushed, bytes.min(UPDATE_BYTES_MAX)));
                }
                Call::Next => {
                    if let Some(sending) = scheduler.next(Millis(now)) {
                        model.send(&sending);
                    }
                }
                Call::Delivered(bytes) => {
                    scheduler.delivered(Millis(now), bytes);
                    model.deliver(bytes);
                }
                Call::Reset => {
                    scheduler.reset(Millis(now));
                    model.reset();
                }
                Call::Mode(mode) => scheduler.set_mode(mode, Millis(now)),
                Call::Pass(ms) => now = now.saturating_add(ms),
                Call::Jump(at) => now = at,
            }
            model.check(&scheduler);
            let window = scheduler.window_bytes();
            prop_assert!((4 * 1024..=8 * 1024 * 1024).contains(&window), "{window}");
            prop_assert!((4 * 1024..=1024 * 1024).contains(&scheduler.page_bytes()));
        }
        // Whatever happened, all of it leaves in the end.
        scheduler.set_mode(Mode::Normal, Millis(now));
        scheduler.delivered(Millis(now), usize::MAX);
        model.deliver(usize::MAX);
        while let Some(sending) = scheduler.next(Millis(now)) {
            model.send(&sending);
            scheduler.delivered(Millis(now), usize::MAX);
            model.deliver(usize::MAX);
        }
        prop_assert!(scheduler.is_empty(), "{} items stay", scheduler.len());
    }
}
