//! What a seed stands for: who calls when, and what goes wrong meanwhile.

use std::ops::Range;
use std::time::Duration;

use super::pause::Pauses;
use crate::message::{Order, Point};
use crate::random::Random;
use crate::setup::Mode;

pub(super) const CLIENTS: usize = 3;
pub(super) const LEASE: Duration = Duration::from_millis(300);
/// For how long a caller waits for its result to be recorded.
pub(super) const PATIENCE: Duration = Duration::from_millis(800);
/// For how long a caller waits for another attempt.
pub(super) const WAIT: Duration = Duration::from_secs(2);
/// The latency of a message, at most, when all has been put right: no store gives up that early.
pub(super) const CALM: Duration = Duration::from_millis(5);
/// When everything has gone wrong that is to go wrong, and is being put right.
pub(super) const END: Duration = Duration::from_secs(3);
/// For how long a body runs at most on either side of its effect.
pub(super) const BODY: Duration = Duration::from_millis(500);
/// For how long a store waits for its server, by client's choice.
pub(super) const TIMEOUTS: [Duration; 3] = [
    Duration::from_millis(60),
    Duration::from_millis(250),
    Duration::from_millis(900),
];

const KEYS: u64 = 6;
const CALLS_PER_KEY: u64 = 5;
/// Within how long all calls with one key are made.
const RUSH: Duration = Duration::from_millis(900);
/// When the last rush begins at the latest.
const LAST_RUSH: Duration = Duration::from_millis(1_900);
/// How long one thing stays wrong.
const FAULT: Duration = Duration::from_millis(900);
/// How long a host is down.
const DOWN: Duration = Duration::from_millis(500);
/// How much a message on a slow link, or an answer of a slow server, is late at most.
const LATE: Duration = Duration::from_millis(900);

/// What a simulation is, beside its seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Variant {
    /// The server keeps its records when it restarts.
    Durable(Mode),
    /// It starts anew without any.
    Forgetful,
}

/// Everything that is decided before the simulation begins.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) variant: Variant,
    /// The usual latency of a message, at most.
    pub(super) latency: Duration,
    pub(super) clients: Vec<Client>,
    pub(super) keys: Vec<Case>,
    pub(super) calls: Vec<Call>,
    /// In the order of their time.
    pub(super) faults: Vec<(Duration, Fault)>,
    /// When the server is slow.
    pub(super) stalls: Vec<Stall>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) timeout: Duration,
    pub(super) pauses: Pauses,
}

/// One key.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// Whether its calls tell how their value came about.
    pub(super) told: bool,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) at: Duration,
    pub(super) order: Order,
    /// When its caller loses patience, and drops it.
    pub(super) dropped_after: Option<Duration>,
}

/// Something that goes wrong, or is put right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    ClientDown(usize),
    ClientUp(usize),
    ServerDown,
    ServerUp,
    /// Messages between this client and the server wait.
    Hold(usize),
    Release(usize),
    /// They are lost.
    Partition(usize),
    /// They are lost on the way to the server, or on the way back.
    OneWay(usize, Direction),
    /// Every now and then the link breaks, and is repaired.
    Lossy(usize),
    /// They take up to this long.
    Slow(usize, Duration),
    Repair(usize),
    /// A process stands still; what it does is in [`Client::pauses`].
    Pause(usize, Duration),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    Answers,
    Requests,
}

/// A time in which the server takes its time.
#[derive(Clone, Debug)]
pub(super) struct Stall {
    pub(super) when: Range<Duration>,
    pub(super) longest: Duration,
}

impl Variant {
    pub(super) const ALL: [Self; 3] = [
        Self::Durable(Mode::Rerun),
        Self::Durable(Mode::InDoubt),
        Self::Forgetful,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Durable(Mode::InDoubt) => "durable in_doubt",
            Self::Durable(Mode::Rerun) => "durable rerun",
            Self::Forgetful => "forgetful rerun",
        }
    }

    pub(super) const fn mode(self) -> Mode {
        match self {
            Self::Durable(mode) => mode,
            Self::Forgetful => Mode::Rerun,
        }
    }

    pub(super) const fn remembers(self) -> bool {
        matches!(self, Self::Durable(_))
    }
}

impl Fault {
    /// What it is called where it is counted.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::ClientDown(_) => Some("clients crashed"),
            Self::Hold(_) => Some("links held"),
            Self::Lossy(_) => Some("links lossy"),
            Self::OneWay(..) => Some("links cut one way"),
            Self::Partition(_) => Some("links cut"),
            Self::Pause(..) => Some("clients paused"),
            Self::ServerDown => Some("servers crashed"),
            Self::Slow(..) => Some("links slow"),
            Self::ClientUp(_) | Self::Release(_) | Self::Repair(_) | Self::ServerUp => None,
        }
    }
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, 0);
        let variant = random.choose(&[
            (45, Variant::Durable(Mode::Rerun)),
            (35, Variant::Durable(Mode::InDoubt)),
            (20, Variant::Forgetful),
        ]);
        let latency = random.choose(&[(2, 4), (2, 20), (1, 80)]);
        let keys = draw_keys(&mut random);
        let calls = draw_calls(&mut random, &keys, variant.mode());
        let mut faults = Vec::new();
        let clients = (0..CLIENTS)
            .map(|client| {
                draw_links(&mut random, client, &mut faults);
                draw_crashes(&mut random, client, &mut faults);
                Client {
                    timeout: random.choose(&TIMEOUTS.map(|timeout| (1, timeout))),
                    pauses: draw_pauses(&mut random, client, &mut faults),
                }
            })
            .collect();
        let stalls = draw_server(&mut random, &mut faults);
        faults.sort_by_key(|(at, _)| *at);
        Self {
            variant,
            latency: Duration::from_millis(latency),
            clients,
            keys,
            calls,
            faults,
            stalls,
        }
    }
}

fn draw_keys(random: &mut Random) -> Vec<Case> {
    (0..KEYS)
        .map(|number| Case {
            name: format!("k{number}"),
            told: random.percent(50),
        })
        .collect()
}

fn draw_calls(random: &mut Random, keys: &[Case], mode: Mode) -> Vec<Call> {
    let mut calls = Vec::new();
    for key in keys {
        let rush = random.up_to(LAST_RUSH);
        for _ in 0..CALLS_PER_KEY {
            let fails = random.choose(&[
                (17, None),
                (2, Some(Point::BeforeEffect)),
                // An error says that there was no effect, or that another one does no harm.
                (u64::from(mode == Mode::Rerun), Some(Point::AfterEffect)),
            ]);
            calls.push(Call {
                client: below(random, CLIENTS),
                at: rush + random.up_to(RUSH),
                order: Order {
                    call: 0,
                    key: key.name.clone(),
                    before: draw_body(random),
                    after: draw_body(random),
                    fails,
                    told: key.told,
                    ..Order::default()
                },
                dropped_after: random.percent(10).then(|| random.up_to(BODY)),
            });
        }
    }
    calls.sort_by_key(|call| call.at);
    for (number, call) in (1..).zip(&mut calls) {
        call.order.call = number;
    }
    calls
}

fn draw_body(random: &mut Random) -> Duration {
    let longest = random.choose(&[(1, 0), (2, 20), (3, 200), (4, 500)]);
    random.up_to(Duration::from_millis(longest).min(BODY))
}

/// One thing after the other, since a link can be in one state only.
fn draw_links(random: &mut Random, client: usize, faults: &mut Vec<(Duration, Fault)>) {
    let mut at = random.up_to(FAULT * 2);
    while at < END {
        let slow = Fault::Slow(client, random.up_to(LATE));
        let direction = random.choose(&[(1, Direction::Requests), (1, Direction::Answers)]);
        let fault = random.choose(&[
            (2, Fault::Hold(client)),
            (2, Fault::Partition(client)),
            (2, Fault::OneWay(client, direction)),
            (2, Fault::Lossy(client)),
            (3, slow),
        ]);
        let end = (at + random.up_to(FAULT)).min(END);
        faults.push((at, fault));
        faults.push((
            end,
            match fault {
                Fault::Hold(_) => Fault::Release(client),
                _ => Fault::Repair(client),
            },
        ));
        at = end + random.up_to(FAULT * 2);
    }
}

fn draw_crashes(random: &mut Random, client: usize, faults: &mut Vec<(Duration, Fault)>) {
    if random.percent(60) {
        let at = random.up_to(END.saturating_sub(DOWN));
        faults.push((at, Fault::ClientDown(client)));
        faults.push((at + random.up_to(DOWN), Fault::ClientUp(client)));
    }
}

fn draw_pauses(random: &mut Random, client: usize, faults: &mut Vec<(Duration, Fault)>) -> Pauses {
    let mut pauses = Vec::new();
    let mut at = random.up_to(END / 2);
    while at < END {
        let end = (at + LEASE / 2 + random.up_to(LEASE * 2)).min(END);
        faults.push((at, Fault::Pause(client, end.saturating_sub(at))));
        pauses.push(at..end);
        at = end + random.up_to(END / 2);
    }
    pauses.into()
}

fn draw_server(random: &mut Random, faults: &mut Vec<(Duration, Fault)>) -> Vec<Stall> {
    let mut at = random.up_to(END / 2);
    while at < END.saturating_sub(DOWN) && random.percent(70) {
        let up = at + random.up_to(DOWN);
        faults.push((at, Fault::ServerDown));
        faults.push((up, Fault::ServerUp));
        at = up + Duration::from_millis(10) + random.up_to(END / 2);
    }
    let stalls = random.below(3);
    (0..stalls)
        .map(|_| {
            let begin = random.up_to(END.saturating_sub(FAULT));
            Stall {
                when: begin..begin + random.up_to(FAULT),
                longest: random.up_to(LATE),
            }
        })
        .collect()
}

fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap_or_default()
}
