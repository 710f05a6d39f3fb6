//! What a run has done so far, and what earlier runs have recorded.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::entry::{Entry, check_name, has_place};
use super::{Determinism, StepError, StepMismatch};
use crate::error::Error;
use crate::record::{Payload, Step};

/// How much a run may record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many steps.
    pub(crate) steps: usize,
    /// How many bytes in a step's value.
    pub(crate) step_size: usize,
    /// How many bytes in all of them.
    pub(crate) history: usize,
}

/// What goes for every run of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) determinism: Determinism,
    pub(crate) limits: Limits,
    pub(crate) version: &'a str,
}

/// The steps of one run.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The steps that earlier runs have recorded, by name.
    recorded: HashMap<String, Entry>,
    /// Their names, by place.
    places: BTreeMap<u32, String>,
    /// The names of the steps that this run has built.
    built: HashSet<String>,
    /// The place of the next one.
    next: u32,
    /// How many steps the record has.
    steps: usize,
    /// How many bytes their values have.
    size: usize,
    stop: Option<Stop>,
    /// Whether the operation was told that a step did not run, or does not count.
    has_refused: bool,
    finished: Option<Payload>,
}

/// Why nothing more can be recorded.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// This step was dropped in the middle of its run.
    Abandoned(String),
    /// The steps are not those that are recorded.
    Diverged(StepMismatch),
    /// The operation has ended.
    Ended,
    InTransaction,
    LeaseLost,
    /// The store has not taken this step.
    Unrecorded(String),
}

/// What is to be done about a step.
#[derive(Debug)]
pub(crate) enum Plan {
    /// It was recorded before.
    Known(Payload),
    /// It is to run, and to be recorded at this place.
    Run { place: u32 },
}

impl Stop {
    fn error(&self, step: &str) -> StepError {
        let step = step.to_owned();
        match self {
            Self::Abandoned(step) => StepError::Abandoned { step: step.clone() },
            Self::Diverged(mismatch) => mismatch.clone().into(),
            Self::Ended => StepError::Ended { step },
            Self::InTransaction => StepError::InTransaction,
            Self::LeaseLost => StepError::LeaseLost { step },
            Self::Unrecorded(step) => StepError::Blocked { step: step.clone() },
        }
    }
}

impl Log {
    /// The log of a run that finds `steps` recorded.
    pub(crate) fn read(steps: &[Step]) -> Result<Self, Error> {
        let mut log = Self::default();
        for step in steps {
            let entry = Entry::read(&step.value)?;
            log.count(entry.payload.bytes.len());
            if has_place(&step.name) {
                log.places.insert(entry.place, step.name.clone());
                log.recorded.insert(step.name.clone(), entry);
            }
        }
        Ok(log)
    }

    /// The log of a run that can have no steps.
    pub(crate) fn stopped(stop: Stop) -> Self {
        Self {
            stop: Some(stop),
            ..Self::default()
        }
    }

    /// Builds the step `name`.
    pub(crate) fn plan(&mut self, name: &str, rules: &Rules<'_>) -> Result<Plan, StepError> {
        let plan = check_name(name)
            .and_then(|()| self.check(name))
            .and_then(|()| self.place(name, rules));
        self.has_refused |= plan.is_err();
        plan
    }

    /// Builds the marker `name`, or says that the run is past that point: an earlier run went another
    /// way from here.
    pub(crate) fn plan_patch(
        &mut self,
        name: &str,
        rules: &Rules<'_>,
    ) -> Result<Option<Plan>, StepError> {
        self.check(name)?;
        let is_past = match rules.determinism {
            Determinism::ByName => self.unvisited().next().is_some(),
            Determinism::Strict => self.places.range(self.next..).next().is_some(),
        };
        if is_past && !self.recorded.contains_key(name) {
            return Ok(None);
        }
        self.place(name, rules).map(Some)
    }

    fn place(&mut self, name: &str, rules: &Rules<'_>) -> Result<Plan, StepError> {
        if !self.built.insert(name.to_owned()) {
            let step = name.to_owned();
            return Err(StepError::Duplicate { step });
        }
        let place = self.next;
        match self.recorded.get(name) {
            Some(entry) if entry.place == place || rules.determinism == Determinism::ByName => {
                if entry.place != place {
                    tracing::warn!(
                        target: "idempotency",
                        step = name,
                        place,
                        recorded = entry.place,
                        "a step is at another place than when it was recorded"
                    );
                }
                let payload = entry.payload.clone();
                self.next += 1;
                return Ok(Plan::Known(payload));
            }
            Some(_) => return Err(self.diverge(place, Some(name), rules).into()),
            None => {}
        }
        if rules.determinism == Determinism::Strict && self.places.contains_key(&place) {
            return Err(self.diverge(place, Some(name), rules).into());
        }
        if self.steps >= rules.limits.steps || self.size >= rules.limits.history {
            let step = name.to_owned();
            return Err(StepError::TooMany { step });
        }
        self.next += 1;
        self.steps += 1;
        Ok(Plan::Run { place })
    }

    /// Refuses the step `name` if nothing more can be recorded.
    pub(crate) fn check(&mut self, name: &str) -> Result<(), StepError> {
        let Some(stop) = &self.stop else {
            return Ok(());
        };
        self.has_refused = true;
        Err(stop.error(name))
    }

    /// Takes note that the operation was told that a step does not count.
    pub(crate) const fn refuse(&mut self) {
        self.has_refused = true;
    }

    /// Whether the operation was told that a step did not run, or does not count. Then its failure is none
    /// of its own.
    pub(crate) const fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// Counts a step whose value has so many `bytes`.
    fn count(&mut self, bytes: usize) {
        self.steps += 1;
        self.size += bytes;
    }

    /// Takes note that a step whose value has so many `bytes` is recorded.
    pub(crate) const fn keep(&mut self, bytes: usize) {
        self.size += bytes;
    }

    /// Takes note that nothing more can be recorded. The first reason counts.
    pub(crate) fn stop(&mut self, stop: Stop) {
        self.stop.get_or_insert(stop);
    }

    pub(crate) const fn stopped_by(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Takes note that the operation's result is recorded.
    pub(crate) fn finish(&mut self, payload: Payload) {
        self.finished = Some(payload);
        self.stop(Stop::Ended);
    }

    /// The operation's result, if the operation has recorded it itself.
    pub(crate) const fn finished(&self) -> Option<&Payload> {
        self.finished.as_ref()
    }

    /// Whether anything is recorded, or may be.
    pub(crate) const fn has_steps(&self) -> bool {
        self.next > 0 || self.steps > 0
    }

    /// Refuses the end of a run that has not come to all the steps that are recorded.
    pub(crate) fn check_end(&mut self, rules: &Rules<'_>) -> Result<(), StepMismatch> {
        if rules.determinism == Determinism::ByName {
            return Ok(());
        }
        let unvisited = self.unvisited().next();
        unvisited.map_or(Ok(()), |place| Err(self.diverge(place, None, rules)))
    }

    /// The places of the recorded steps that this run has not come to.
    fn unvisited(&self) -> impl Iterator<Item = u32> {
        let others = self
            .places
            .iter()
            .filter(|(_, name)| !self.built.contains(*name));
        others.map(|(place, _)| *place)
    }

    fn diverge(&mut self, place: u32, requested: Option<&str>, rules: &Rules<'_>) -> StepMismatch {
        let recorded = self.places.get(&place).cloned();
        let entry = recorded
            .as_deref()
            .or(requested)
            .and_then(|name| self.recorded.get(name));
        let mismatch = StepMismatch {
            place,
            requested: requested.map(str::to_owned),
            recorded_version: entry.map(|entry| entry.version.clone()).unwrap_or_default(),
            current_version: rules.version.to_owned(),
            recorded,
        };
        self.stop(Stop::Diverged(mismatch.clone()));
        mismatch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecId;

    const RULES: Rules<'_> = Rules {
        determinism: Determinism::Strict,
        limits: Limits {
            steps: 8,
            step_size: 100,
            history: 20,
        },
        version: "2",
    };
    const BY_NAME: Rules<'_> = Rules {
        determinism: Determinism::ByName,
        ..RULES
    };

    fn recorded(names: &[&str]) -> Log {
        let steps = names.iter().zip(0..).map(|(name, place)| {
            let payload = Payload {
                codec: CodecId::JSON,
                bytes: name.as_bytes().to_vec().into(),
            };
            let version = "1".to_owned();
            Entry {
                place,
                version,
                payload,
            }
            .to_step(name)
        });
        Log::read(&steps.collect::<Vec<_>>()).unwrap()
    }

    fn is_known(plan: &Result<Plan, StepError>) -> bool {
        matches!(plan, Ok(Plan::Known(_)))
    }

    /// R1, R2.
    #[test]
    fn recorded_steps_are_known_and_the_next_one_runs() {
        let mut log = recorded(&["ride", "charge"]);
        assert!(is_known(&log.plan("ride", &RULES)));
        assert!(is_known(&log.plan("charge", &RULES)));
        assert!(matches!(
            log.plan("mail", &RULES),
            Ok(Plan::Run { place: 2 })
        ));
        log.check_end(&RULES).unwrap();
    }

    /// R2.
    #[test]
    fn another_name_at_the_same_place_is_a_mismatch_that_names_both_and_their_versions() {
        let mut log = recorded(&["ride", "charge"]);
        log.plan("ride", &RULES).unwrap();
        let Err(StepError::Mismatch(mismatch)) = log.plan("pay", &RULES) else {
            panic!("a mismatch was expected");
        };
        assert_eq!(mismatch.place, 1);
        assert_eq!(mismatch.recorded.as_deref(), Some("charge"));
        assert_eq!(mismatch.requested.as_deref(), Some("pay"));
        assert_eq!(mismatch.recorded_version, "1");
        assert_eq!(mismatch.current_version, "2");
        assert!(log.plan("charge", &RULES).is_err(), "and nothing after it");
    }

    /// R2.
    #[test]
    fn the_same_name_at_another_place_is_a_mismatch() {
        let mut log = recorded(&["ride", "charge"]);
        let found = log.plan("charge", &RULES);
        assert!(matches!(found, Err(StepError::Mismatch(_))));

        let mut log = recorded(&["ride"]);
        log.plan("ride", &RULES).unwrap();
        log.plan("new", &RULES).unwrap();
        let twice = log.plan("ride", &RULES);
        assert!(matches!(twice, Err(StepError::Duplicate { .. })));
    }

    /// R4.
    #[test]
    fn by_name_steps_may_come_and_go_and_change_places() {
        let mut log = recorded(&["ride", "charge", "mail"]);
        assert!(is_known(&log.plan("charge", &BY_NAME)));
        assert!(matches!(
            log.plan("new", &BY_NAME),
            Ok(Plan::Run { place: 1 })
        ));
        assert!(is_known(&log.plan("ride", &BY_NAME)));
        log.check_end(&BY_NAME).unwrap();
    }

    /// R9.
    #[test]
    fn a_run_that_ends_before_a_recorded_step_is_a_mismatch_with_its_end() {
        let mut log = recorded(&["ride", "charge"]);
        log.plan("ride", &RULES).unwrap();
        let mismatch = log.check_end(&RULES).unwrap_err();
        assert_eq!((mismatch.place, mismatch.requested), (1, None));
        assert_eq!(mismatch.recorded.as_deref(), Some("charge"));
    }

    /// R5.
    #[test]
    fn a_name_is_for_one_step() {
        let mut log = recorded(&[]);
        log.plan("charge", &RULES).unwrap();
        let second = log.plan("charge", &RULES);
        assert!(matches!(second, Err(StepError::Duplicate { .. })));
        log.plan("mail", &RULES).unwrap();
    }

    /// R8.
    #[test]
    fn nothing_is_recorded_after_a_step_that_was_dropped() {
        let mut log = recorded(&[]);
        log.plan("charge", &RULES).unwrap();
        log.stop(Stop::Abandoned("charge".to_owned()));
        log.stop(Stop::LeaseLost);
        let next = log.plan("mail", &RULES);
        assert!(matches!(next, Err(StepError::Abandoned { step }) if step == "charge"));
    }

    /// R20.
    #[test]
    fn a_run_that_is_past_a_change_goes_the_old_way_and_any_other_the_new_one() {
        let patch = |log: &mut Log, rules| log.plan_patch("$patch:fees", rules).unwrap();
        let mut new = recorded(&["ride"]);
        new.plan("ride", &RULES).unwrap();
        assert!(matches!(
            patch(&mut new, &RULES),
            Some(Plan::Run { place: 1 })
        ));

        let mut again = recorded(&["ride", "$patch:fees"]);
        again.plan("ride", &RULES).unwrap();
        assert!(matches!(patch(&mut again, &RULES), Some(Plan::Known(_))));

        for rules in [&RULES, &BY_NAME] {
            let mut old = recorded(&["ride", "charge"]);
            old.plan("ride", rules).unwrap();
            assert!(patch(&mut old, rules).is_none());
            assert!(is_known(&old.plan("charge", rules)), "it takes no place");
        }
    }

    /// R21.
    #[test]
    fn a_run_has_no_more_steps_than_it_may_have() {
        let mut log = recorded(&[]);
        for step in 0..8 {
            log.plan(&step.to_string(), &RULES).unwrap();
        }
        let beyond = log.plan("8", &RULES);
        assert!(matches!(beyond, Err(StepError::TooMany { .. })));

        let mut log = recorded(&["a step with a name of 31 bytes..", "more"]);
        log.plan("a step with a name of 31 bytes..", &RULES)
            .unwrap();
        assert!(is_known(&log.plan("more", &RULES)), "what is there stays");
        let beyond = log.plan("new", &RULES);
        assert!(matches!(beyond, Err(StepError::TooMany { .. })));
    }
}
