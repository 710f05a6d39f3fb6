use std::sync::LazyLock;

use bytes::Bytes;
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};

use crate::error::Error;

/// A script, which the server runs as one step.
#[derive(Debug)]
pub(crate) struct Script {
    source: &'static str,
    digest: String,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {$(
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));
    )*};
}

scripts! {
    COMPLETE = "complete.lua";
    CONTEND = "contend.lua";
    DELETE = "delete.lua";
    HEAL = "heal.lua";
    LOOK = "look.lua";
    RELEASE = "release.lua";
    RENEW = "renew.lua";
    STEP = "step.lua";
}

/// What a script answers: a letter, and what belongs to it.
pub(crate) struct Answer {
    pub(crate) letter: u8,
    pub(crate) rest: Bytes,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self {
            source,
            digest: redis::Script::new(source).get_hash().to_owned(),
        }
    }

    /// Runs the script on `key`. A server that does not know it, as after a restart, learns it.
    pub(crate) async fn run<C>(
        &self,
        connection: &C,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<Value, Error>
    where
        C: ConnectionLike + Clone + Send + Sync,
    {
        let mut connection = connection.clone();
        let by_digest = command("EVALSHA", &self.digest, key, arguments);
        match by_digest.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let by_source = command("EVAL", self.source, key, arguments);
                Ok(by_source.query_async(&mut connection).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Runs a script that answers with a letter and what belongs to it.
    pub(crate) async fn ask<C>(
        &self,
        connection: &C,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<Answer, Error>
    where
        C: ConnectionLike + Clone + Send + Sync,
    {
        let Value::BulkString(text) = self.run(connection, key, arguments).await? else {
            return Err(Error::Reply);
        };
        let mut rest = Bytes::from(text);
        if rest.is_empty() {
            return Err(Error::Reply);
        }
        let letter = rest.split_to(1)[0];
        Ok(Answer { letter, rest })
    }
}

fn command(name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
    let size = arguments
        .iter()
        .map(|argument| argument.len())
        .sum::<usize>();
    let mut command = Cmd::with_capacity(arguments.len() + 4, size + script.len() + key.len() + 16);
    command.arg(name).arg(script).arg(1).arg(key);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}
