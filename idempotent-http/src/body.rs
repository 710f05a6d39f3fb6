//! A body that has been read into memory, or has not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a request that the layer hands on, or of a response that it returns: read into
    /// memory where the layer had to know it, as it was where not.
    #[derive(Debug)]
    pub struct Body<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindOf]
    enum Kind<B> {
        Buffered { buffered: Buffered },
        Live { #[pin] body: B },
        Resumed { begun: Bytes, rest: Pin<Box<B>> },
    }
}

/// A whole body, with its trailers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffered {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// What came of reading a body.
pub(crate) enum Read<B: HttpBody> {
    Whole(Buffered),
    /// It has more than the limit: this much was read, and there is more.
    TooLarge(Bytes, Pin<Box<B>>),
    Failed(B::Error),
}

impl<B> Body<B> {
    pub(crate) const fn buffered(buffered: Buffered) -> Self {
        Self {
            kind: Kind::Buffered { buffered },
        }
    }

    pub(crate) const fn live(body: B) -> Self {
        Self {
            kind: Kind::Live { body },
        }
    }

    pub(crate) const fn resumed(begun: Bytes, rest: Pin<Box<B>>) -> Self {
        Self {
            kind: Kind::Resumed { begun, rest },
        }
    }
}

/// Reads `body`, unless it has more than `limit` bytes.
pub(crate) async fn read<B: HttpBody<Data = Bytes>>(body: B, limit: usize) -> Read<B> {
    let mut body = Box::pin(body);
    let mut read = BytesMut::new();
    // Most bodies are one frame, which need not be copied.
    let mut only = Bytes::new();
    let mut trailers: Option<HeaderMap> = None;
    loop {
        let frame = match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Read::Failed(error),
        };
        match frame.into_data() {
            Ok(data) if read.is_empty() && only.is_empty() => only = data,
            Ok(data) => {
                read.extend_from_slice(&std::mem::take(&mut only));
                read.extend_from_slice(&data);
            }
            Err(frame) => {
                if let Ok(more) = frame.into_trailers() {
                    trailers.get_or_insert_default().extend(more);
                }
            }
        }
        if read.len().max(only.len()) > limit {
            return Read::TooLarge(whole(only, read), body);
        }
    }
    Read::Whole(Buffered {
        data: whole(only, read),
        trailers,
    })
}

fn whole(only: Bytes, read: BytesMut) -> Bytes {
    if read.is_empty() { only } else { read.freeze() }
}

impl Buffered {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        if self.data.has_remaining() {
            return Some(Frame::data(std::mem::take(&mut self.data)));
        }
        self.trailers.take().map(Frame::trailers)
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Body<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindOf::Buffered { buffered } => Poll::Ready(buffered.next().map(Ok)),
            KindOf::Live { body } => body.poll_frame(cx),
            KindOf::Resumed { begun, .. } if begun.has_remaining() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(begun)))))
            }
            KindOf::Resumed { rest, .. } => Poll::Ready(ready!(rest.as_mut().poll_frame(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Buffered { buffered } => buffered.data.is_empty() && buffered.trailers.is_none(),
            Kind::Live { body } => body.is_end_stream(),
            Kind::Resumed { begun, rest } => begun.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Buffered { buffered } => SizeHint::with_exact(length(&buffered.data)),
            Kind::Live { body } => body.size_hint(),
            Kind::Resumed { begun, rest } => {
                let (begun, rest) = (length(begun), rest.size_hint());
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(begun));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(begun)) {
                    hint.set_upper(upper);
                }
                hint
            }
        }
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    fn frames(
        frames: Vec<Frame<Bytes>>,
    ) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
        StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok)))
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_body_that_fits_is_read_with_its_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let body = frames(vec![
            data("ab"),
            data("cd"),
            Frame::trailers(trailers.clone()),
        ]);
        let Read::Whole(buffered) = read(body, 4).await else {
            panic!("it fits");
        };
        let body: Body<Full<Bytes>> = Body::buffered(buffered);
        assert_eq!(body.size_hint().exact(), Some(4));
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "abcd");
    }

    #[tokio::test]
    async fn nothing_is_lost_of_a_body_that_does_not_fit() {
        let body = frames(vec![data("ab"), data("cd"), data("ef")]);
        let Read::TooLarge(begun, rest) = read(body, 3).await else {
            panic!("it does not fit");
        };
        assert_eq!(begun, "abcd");
        let body = Body::resumed(begun, rest);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
    }
}
