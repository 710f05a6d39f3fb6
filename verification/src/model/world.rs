//! The worlds in which the promises must hold.

use super::bounds::Bounds;

/// A world of the protocol as it is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct World {
    /// What it is about.
    pub name: &'static str,
    /// How large it is.
    pub bounds: Bounds,
}

const PAIR: Bounds = Bounds::PAIR;
/// Three calls in a shorter time.
const TRIO: Bounds = Bounds {
    calls: 3,
    ticks: 3,
    ttl: 1,
    ..PAIR
};

const SMALL: [World; 4] = [
    World {
        name: "two calls",
        bounds: Bounds {
            claims: 2,
            misfortunes: 0,
            ..PAIR
        },
    },
    World {
        name: "steps",
        bounds: Bounds {
            has_steps: true,
            misfortunes: 0,
            ..PAIR
        },
    },
    World {
        name: "record loss",
        bounds: Bounds {
            loses_records: true,
            ticks: 3,
            ..PAIR
        },
    },
    World {
        name: "at most once",
        bounds: Bounds {
            at_most_once: true,
            ..PAIR
        },
    },
];

const QUICK: [World; 6] = [
    World {
        name: "two calls",
        bounds: Bounds { claims: 2, ..PAIR },
    },
    World {
        name: "longer lease",
        bounds: Bounds {
            lease: 2,
            ticks: 5,
            ..PAIR
        },
    },
    World {
        name: "steps",
        bounds: Bounds {
            has_steps: true,
            ..PAIR
        },
    },
    World {
        name: "record loss",
        bounds: Bounds {
            loses_records: true,
            ..PAIR
        },
    },
    World {
        name: "at most once",
        bounds: Bounds {
            at_most_once: true,
            claims: 2,
            ..PAIR
        },
    },
    World {
        name: "three calls",
        bounds: TRIO,
    },
];

const FULL: [World; 8] = [
    World {
        name: "two calls, worse luck",
        bounds: Bounds {
            claims: 2,
            misfortunes: 2,
            ..PAIR
        },
    },
    World {
        name: "longer lease, worse luck",
        bounds: Bounds {
            claims: 2,
            lease: 2,
            misfortunes: 2,
            ticks: 5,
            ..PAIR
        },
    },
    World {
        name: "steps, worse luck",
        bounds: Bounds {
            has_steps: true,
            misfortunes: 2,
            ..PAIR
        },
    },
    World {
        name: "record loss, worse luck",
        bounds: Bounds {
            loses_records: true,
            misfortunes: 2,
            ..PAIR
        },
    },
    World {
        name: "at most once, worse luck",
        bounds: Bounds {
            at_most_once: true,
            claims: 2,
            misfortunes: 2,
            ..PAIR
        },
    },
    World {
        name: "three calls, more time",
        bounds: Bounds {
            ticks: 4,
            ttl: 2,
            ..TRIO
        },
    },
    World {
        name: "three calls, at most once",
        bounds: Bounds {
            at_most_once: true,
            ticks: 4,
            ttl: 2,
            ..TRIO
        },
    },
    World {
        name: "three calls, two claims",
        bounds: Bounds { claims: 2, ..TRIO },
    },
];

impl World {
    /// Those that a test can afford, unoptimised.
    #[must_use]
    pub const fn small() -> &'static [Self] {
        &SMALL
    }

    /// Those that take less than a minute.
    #[must_use]
    pub const fn quick() -> &'static [Self] {
        &QUICK
    }

    /// Those that take a quarter of an hour more.
    #[must_use]
    pub const fn full() -> &'static [Self] {
        &FULL
    }
}
