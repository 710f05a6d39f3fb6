use indicatif::{ProgressBar, ProgressStyle};

/// Shows on a terminal what is being measured, and nothing anywhere else.
pub(crate) struct Progress {
    style: ProgressStyle,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg:<40} {wide_bar} {pos:>5}/{len:<5} {eta:>4}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { style }
    }

    /// Counts `rounds` of `what`, as they are taken.
    pub(crate) fn rounds(&self, what: &'static str, rounds: usize) -> impl Iterator<Item = usize> {
        let total = u64::try_from(rounds).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(total)
            .with_style(self.style.clone())
            .with_message(what);
        let done = bar.clone();
        (0..rounds)
            .inspect(move |_| bar.inc(1))
            .chain(std::iter::from_fn(move || {
                done.finish_and_clear();
                None
            }))
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}
