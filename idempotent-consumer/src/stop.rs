use tokio::sync::watch;

/// Tells all parts of a running consumer how far its shutdown has come.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<Stage>);

/// What moves a shutdown on.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    Running,
    /// Handlers may finish; nobody waits for anything else.
    Draining,
    /// Handlers are about to be cut off.
    Cancelled,
}

impl Stopper {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Stage::Running))
    }

    pub(crate) fn stop(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    pub(crate) fn drain(&self) {
        self.0.send_replace(Stage::Draining);
    }

    pub(crate) fn cancel(&self) {
        self.0.send_replace(Stage::Cancelled);
    }
}

impl Stop {
    /// For a single delivery, which nothing shuts down.
    pub(crate) fn never() -> Self {
        Stopper::new().stop()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.0.borrow() == Stage::Cancelled
    }

    pub(crate) async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    pub(crate) async fn cancelled(&self) {
        self.reached(Stage::Cancelled).await;
    }

    async fn reached(&self, stage: Stage) {
        let mut stages = self.0.clone();
        if stages.wait_for(|now| *now >= stage).await.is_err() {
            // Nobody is left who could stop anything.
            std::future::pending::<()>().await;
        }
    }
}
