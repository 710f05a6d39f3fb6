//! Many calls that one fault hits at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::case::Case;
use crate::message::Order;
use crate::process::Worker;
use crate::random::Random;
use crate::world::{Pair, World};

/// One key, what is to happen to it, and the two who call with it.
#[derive(Debug)]
pub(crate) struct Hit<P> {
    pub(crate) world: Arc<World>,
    pub(crate) random: Random,
    pub(crate) case: Case,
    pub(crate) plan: P,
    /// The first call.
    pub(crate) order: Order,
    pub(crate) caller: Worker,
    pub(crate) other: Worker,
}

impl<P: Copy> Hit<P> {
    /// One for each pair of `workers`, with one of `plans`, each of which has its weight. A body takes
    /// up to `longest` before and after its effect each.
    pub(crate) fn draw(
        world: &Arc<World>,
        workers: Vec<Pair>,
        round: u64,
        plans: &[(u64, P)],
        longest: Duration,
    ) -> Result<Vec<Self>> {
        let mut random = world.random(round);
        let hits = workers.into_iter().map(|(caller, other)| {
            let mut case = world.case(round, random.percent(50))?;
            let plan = random.choose(plans);
            let order = case.order(world, &mut random, longest);
            Ok(Self {
                world: Arc::clone(world),
                random: random.fork(),
                case,
                plan,
                order,
                caller,
                other,
            })
        });
        hits.collect()
    }
}
