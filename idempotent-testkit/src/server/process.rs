use std::io;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::ServerError;

/// A child that does not outlive this value.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts `command`, or says that `program` has to be installed first.
    pub(super) fn start(
        command: &mut Command,
        program: &'static str,
        install: &'static str,
    ) -> Result<Self, ServerError> {
        match command.spawn() {
            Ok(child) => Ok(Self(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ServerError::Missing { program, install })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the process as a power cut would, and waits until it is gone.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Stops the process where it stands. It answers nothing until it is resumed.
    pub(super) fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    pub(super) fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid(), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed before; nobody is left to be told.
        _ = self.kill();
    }
}
