//! Connections with or without TLS, as one type.

use std::future::poll_fn;
use std::pin::Pin;

use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Socket};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Is told the payload of each notification.
pub(crate) type Hear = Box<dyn Fn(&str) + Send>;

/// A connection: what to ask, and what reads and writes as long as it is polled.
pub(crate) type Connected = (Client, BoxFuture<'static, ()>);

/// Makes connections.
pub(crate) trait Connector: Send + Sync {
    fn connect<'a>(
        &'a self,
        config: &'a Config,
        hear: Hear,
    ) -> BoxFuture<'a, Result<Connected, tokio_postgres::Error>>;
}

impl<T> Connector for T
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect<'a>(
        &'a self,
        config: &'a Config,
        hear: Hear,
    ) -> BoxFuture<'a, Result<Connected, tokio_postgres::Error>> {
        Box::pin(async move {
            let (client, mut connection) = config.connect(self.clone()).await?;
            let driving: BoxFuture<'static, ()> = Box::pin(async move {
                // Whoever waits for an answer is told of an error too.
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(notification) = message {
                        hear(notification.payload());
                    }
                }
            });
            Ok((client, driving))
        })
    }
}
