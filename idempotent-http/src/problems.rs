//! The problems that a client may be told of, by their codes.
//!
//! The `type` of a [problem](crate::Problems) points to one of these, unless the service has pages of
//! its own. `retryable` says whether the same request with the same key may succeed later.
//!
//! # failed
//!
//! Status 500, retryable. The handler panicked, its response broke off, or the service is set up wrongly. The
//! key is free again, but something may have happened: the next attempt can see that it is not the first.
//!
//! # indeterminate
//!
//! Status 409. The process that handled an earlier request with this key died or was cut off, and the service
//! prefers to do things at most once. Ask the service's people what has happened.
//!
//! # in-progress
//!
//! Status 409, retryable, with `Retry-After` in seconds. A request with this key is being handled. Send the same
//! request again later, and get its response.
//!
//! # invalid-key
//!
//! Status 400. The key is empty, too long, there twice, or has characters that a key cannot have. `detail` says
//! which.
//!
//! # mismatch
//!
//! Status 422. The key was used before with another path, method or body. The earlier request's response is
//! still there for who repeats *that* request. For a new request, make a new key.
//!
//! # missing-key
//!
//! Status 400. The service wants a key with this request, and `detail` says where. Make one, such as a random
//! UUID, and keep it for all retries of this request.
//!
//! # scope
//!
//! Status 500. The service could not tell whose request this is, so that it could not tell whose key.
//!
//! # store
//!
//! Status 503, retryable, with `Retry-After` in seconds. The service cannot remember requests at the moment, so
//! that it does not handle any. Nothing was done.
//!
//! # too-large
//!
//! Status 413. The body has more bytes than the service takes with a key.
//!
//! # unavailable
//!
//! Status 409. The earlier request was answered, but its answer was too large to keep, was a stream, or was not
//! to be kept. It will not run again. `Location` says where the result is, if the answer had it.
//!
//! # upload
//!
//! Status 400, retryable. The body ended before its end. Nothing was done.
//!
//! # upload-timeout
//!
//! Status 408, retryable. The body did not come in time. Nothing was done.
