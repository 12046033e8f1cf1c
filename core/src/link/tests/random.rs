//! Any calls in any order at any times, also such as a driver promised not to give.

use super::*;

#[derive(Clone, Debug)]
enum Call {
    Connected,
    Welcomed,
    Heard,
    Pong(u8),
    Ended(bool),
    Changed,
    Retry,
    /// Lets time pass to the deadline.
    Deadline,
    Pass(u64),
    /// Sets the driver's clock.
    Jump(u64),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        3 => Just(Call::Connected),
        3 => Just(Call::Welcomed),
        2 => Just(Call::Heard),
        2 => (0..8_u8).prop_map(Call::Pong),
        2 => prop::bool::weighted(0.1).prop_map(Call::Ended),
        1 => Just(Call::Changed),
        1 => Just(Call::Retry),
        6 => Just(Call::Deadline),
        3 => prop_oneof![0..100_u64, 0..20_000_u64, 0..10_000_000_u64].prop_map(Call::Pass),
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Call::Jump),
    ];
    prop::collection::vec(call, 1..200)
}

fn configs() -> impl Strategy<Value = LinkConfig> {
    let odd = prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>(), 0..100_000_u64];
    let fields = prop::array::uniform11(odd);
    prop_oneof![
        3 => Just(LinkConfig::default()),
        1 => fields.prop_map(|[a, b, c, d, e, f, g, h, i, j, k]| LinkConfig {
            ping_ms: a, online_ms: b, offline_ms: c, offline_ms_max: d, transition_ms: e, open_ms: f,
            probe_ms: g, stay_ms: h, backoff_ms: i, backoff_ms_max: j, slow_ms: k,
        }),
    ]
}

/// What may be true of a link, seen from outside.
struct Watched {
    link: Link,
    now: u64,
    /// A dial was asked for, and did not end.
    is_open: bool,
    is_welcomed: bool,
}

impl Watched {
    fn turn(&mut self) -> usize {
        let mut effects = 0;
        while let Some(effect) = self.link.poll(Millis(self.now)) {
            effects += 1;
            assert!(effects < 6, "turns in circles with {effect:?}");
            match effect {
                LinkEffect::Dial => {
                    assert!(!self.is_open, "two dials at a time");
                    self.is_open = true;
                }
                LinkEffect::HangUp { .. } => {
                    assert!(self.is_open, "nothing to hang up");
                    (self.is_open, self.is_welcomed) = (false, false);
                }
                LinkEffect::Ping { .. } => assert!(self.is_welcomed),
            }
        }
        let deadline = self.link.deadline();
        assert!(
            deadline.is_none_or(|at| at.0 > self.now || at.0 == u64::MAX),
            "{deadline:?} at {}",
            self.now
        );
        match self.link.state() {
            Online | Degraded => assert!(self.is_welcomed),
            Transitioning => assert!(!self.is_welcomed),
            Offline => assert!(!self.is_welcomed),
        }
        assert_eq!(
            self.link.next_attempt().is_some(),
            !self.is_open && deadline.is_some_and(|_| !self.is_held())
        );
        assert!(self.link.loss().is_none_or(|loss| (0.0..=1.0).contains(&loss)));
        effects
    }

    fn is_held(&self) -> bool {
        self.link.next_attempt().is_none()
            && !self.is_open
            && self.link.last_error().is_some_and(End::is_permanent)
    }

    fn call(&mut self, call: &Call) {
        let now = Millis(self.now);
        match call {
            Call::Connected => self.link.connected(now),
            Call::Welcomed => {
                self.link.welcomed(now);
                self.is_welcomed = self.is_open;
            }
            Call::Heard => self.link.heard(now),
            Call::Pong(token) => self.link.pong(now, u64::from(*token)),
            Call::Ended(true) => self.link.ended(now, End::Permanent { reason: "no".into() }),
            Call::Ended(false) => self.link.ended(now, world::lost()),
            Call::Changed => self.link.network_changed(now),
            Call::Retry => self.link.retry(now),
            Call::Deadline => self.now = self.link.deadline().map_or(self.now, |at| at.0),
            Call::Pass(ms) => self.now = self.now.saturating_add(*ms),
            Call::Jump(at) => self.now = *at,
        }
        if let Call::Ended(_) = call {
            (self.is_open, self.is_welcomed) = (false, false);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_calls_confuse_a_link(seed: u64, config in configs(), calls in calls(), start in 0..u64::MAX) {
        let link = Link::new(config, seed, Millis(start));
        let mut watched = Watched { link, now: start, is_open: false, is_welcomed: false };
        watched.turn();
        for call in &calls {
            let before = watched.link.deadline();
            watched.call(call);
            let effects = watched.turn();
            if let (Call::Deadline, Some(before)) = (call, before.filter(|at| at.0 < u64::MAX)) {
                prop_assert!(effects > 0 || watched.link.deadline() != Some(before), "stuck at {before:?}");
            }
        }
    }

    /// Whatever happened, and wherever the driver's clock went: the next dial is due in five minutes at most, and it
    /// comes when it is due.
    #[test]
    fn no_calls_make_a_link_wait_for_longer(seed: u64, calls in calls(), end in 0..1_000_000_000_u64) {
        let link = Link::new(LinkConfig::default(), seed, Millis(0));
        let mut watched = Watched { link, now: 0, is_open: false, is_welcomed: false };
        watched.turn();
        for call in &calls {
            watched.call(call);
            watched.turn();
        }
        watched.now = end;
        watched.turn();
        if watched.is_held() {
            watched.call(&Call::Retry);
            watched.turn();
            prop_assert!(watched.is_open);
        }
        let mut last = end;
        // From here on nobody answers, so what is open ends, and what is not is dialed.
        for _ in 0..200 {
            let before = (watched.is_open, watched.is_welcomed);
            watched.call(&Call::Deadline);
            watched.turn();
            if before != (watched.is_open, watched.is_welcomed) {
                prop_assert!(watched.now - last <= 300_000, "{before:?} for {} ms", watched.now - last);
                last = watched.now;
            }
        }
        prop_assert!(last > end);
    }
}
