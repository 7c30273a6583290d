//! What an application does: steps, and programs of steps.

use proptest::collection::vec;
use proptest::prelude::*;

/// Ids are few, so that they meet: wrong ones are part of the game.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    CreateRouter(u8),
    CloseRouter(u8),
    CreateTransport(u8, u8),
    CloseTransport(u8, u8),
    CreateObserver(u8, u8),
    CloseObserver(u8, u8),
    Observe(u8, u8),
    StopObserving(u8, u8),
    Produce(u8, u8, bool, Flavour),
    CloseProducer(u8, u8, bool),
    Pause(u8, bool, bool),
    Consume(u8, u8, u16, bool),
    CloseConsumer(u8, u16, bool),
    Dump(u8),
    DumpWorker,
    CreateServer(u8),
    CloseServer(u8),
    CreateOnServer(u8, u8, u8),
    DumpServer(u8),
}

/// So many transports are direct; the others have SCTP: those from 6 on on servers, the rest plain.
pub const DIRECT: u8 = 3;

#[derive(Clone, Copy, Debug)]
pub enum Flavour {
    Media,
    Refused,
    Sctp,
    Direct,
}

pub fn step() -> impl Strategy<Value = Step> {
    let (r, t, p, c, o, s) = (0..2u8, 0..8u8, 0..4u8, 0..8u16, 0..2u8, 0..2u8);
    let b = any::<bool>;
    let flavour = prop_oneof![
        6 => Just(Flavour::Media),
        1 => Just(Flavour::Refused),
        2 => Just(Flavour::Sctp),
        2 => Just(Flavour::Direct)
    ];
    prop_oneof![
        2 => r.clone().prop_map(Step::CreateRouter),
        1 => r.clone().prop_map(Step::CloseRouter),
        8 => (r.clone(), 0..6u8).prop_map(|(r, t)| Step::CreateTransport(r, t)),
        2 => (r.clone(), t.clone()).prop_map(|(r, t)| Step::CloseTransport(r, t)),
        2 => (r.clone(), o.clone()).prop_map(|(r, o)| Step::CreateObserver(r, o)),
        1 => (r.clone(), o.clone()).prop_map(|(r, o)| Step::CloseObserver(r, o)),
        3 => (o.clone(), p.clone()).prop_map(|(o, p)| Step::Observe(o, p)),
        1 => (o, p.clone()).prop_map(|(o, p)| Step::StopObserving(o, p)),
        8 => (t.clone(), p.clone(), b(), flavour).prop_map(|(t, p, b, f)| Step::Produce(t, p, b, f)),
        2 => (t.clone(), p.clone(), b()).prop_map(|(t, p, d)| Step::CloseProducer(t, p, d)),
        4 => (p.clone(), b(), b()).prop_map(|(p, b, d)| Step::Pause(p, b, d)),
        14 => (t.clone(), 0..6u8, c.clone(), b()).prop_map(|(t, p, c, d)| Step::Consume(t, p, c, d)),
        4 => (t, c, b()).prop_map(|(t, c, d)| Step::CloseConsumer(t, c, d)),
        1 => r.clone().prop_map(Step::Dump),
        1 => Just(Step::DumpWorker),
        1 => s.clone().prop_map(Step::CreateServer),
        1 => s.clone().prop_map(Step::CloseServer),
        2 => (r, 6..8u8, s.clone()).prop_map(|(r, t, s)| Step::CreateOnServer(r, t, s)),
        1 => s.prop_map(Step::DumpServer),
    ]
}

/// Producers that are refused have ids of their own and each consumer has: to use one again before
/// its refusal or its end was told is the one thing that a virtual worker answers otherwise.
fn own_ids(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut refused = 4..6;
    let mut latest = [1000; 8];
    let own = |(index, step)| match step {
        Step::Produce(t, _, paused, Flavour::Refused) => match refused.next() {
            Some(p) => Step::Produce(t, p, paused, Flavour::Refused),
            None => Step::Dump(0),
        },
        // Elsewhere it would be refused.
        Step::Produce(t, p, paused, Flavour::Direct) => {
            Step::Produce(t % DIRECT, p, paused, Flavour::Direct)
        }
        Step::Produce(t, p, paused, Flavour::Sctp) => {
            Step::Produce(t.max(DIRECT), p, paused, Flavour::Sctp)
        }
        // Where one is refused for the id that it has on another router, mediasoup 3.27.1 keeps
        // what it freed: at the server, which aborts when it closes, and at a timer.
        Step::CreateOnServer(_, t, s) => Step::CreateOnServer(t % 2, t, s),
        Step::CreateObserver(_, o) => Step::CreateObserver(o, o),
        Step::Consume(t, p, c, data) => {
            latest[c as usize] = index as u16;
            Step::Consume(t, p, index as u16, data)
        }
        Step::CloseConsumer(t, c, data) => Step::CloseConsumer(t, latest[c as usize], data),
        other => other,
    };
    steps.into_iter().enumerate().map(own).collect()
}

/// How far what happens is let go on after a step: see `World::advance`.
pub type Pace = Vec<u8>;

/// A step and what happens before the next.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<(Step, Pace)>> {
    vec((step(), vec(any::<u8>(), 0..6)), 1..most)
}

/// Two routers with six transports, and then these steps.
pub fn program(body: &[(Step, Pace)]) -> Vec<(Step, Pace)> {
    let steps = own_ids(body.iter().map(|(step, _)| *step)).into_iter();
    [Step::CreateRouter(0), Step::CreateRouter(1)]
        .into_iter()
        .chain((0..6).map(|t| Step::CreateTransport(u8::from(t == 5), t)))
        .map(|step| (step, Pace::new()))
        .chain(steps.zip(body.iter().map(|(_, pace)| pace.clone())))
        .collect()
}

/// Closes, one by one, all that a program can have made.
pub fn close_all() -> impl Iterator<Item = Step> {
    (0..2).flat_map(|r| {
        let transports = (0..8).map(move |t| Step::CloseTransport(r, t));
        transports.chain((0..2).map(move |o| Step::CloseObserver(r, o)))
    })
}
