//! What known services do, as far as a layer can.
//!
//! Each sets what it names and leaves the rest. Apply one first, and change it after that.

use std::time::Duration;

use http::{HeaderName, Method};

use crate::builder::Builder;
use crate::config::MissingKey;
use crate::fingerprint::RequestFingerprint;
use crate::key::KeySource;
use crate::policy::{Recording, StatusPolicy};
use crate::render::StripeErrors;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Builder {
    /// Stripe's first API: POST, everything is kept for 24 h once the handler has
    /// [begun](crate::IdempotencyContext::begin), 500 included; errors in
    /// [Stripe's shape](StripeErrors); the key is returned, and `Stripe-Should-Retry: false` stands at a
    /// 5xx that was kept, since a retry would get the same.
    ///
    /// A handler that never calls `begin` has none of its responses kept.
    pub fn stripe_v1(mut self) -> Self {
        self.0.tells_stripe = true;
        self.methods([Method::POST])
            .statuses(StatusPolicy::all())
            .deferred_begin()
            .echo_key()
            .ttl(DAY)
            .render(StripeErrors)
    }

    /// Stripe's second API: POST and DELETE, a key is made where there is none, failures run again, 30
    /// days.
    pub fn stripe_v2(self) -> Self {
        self.methods([Method::POST, Method::DELETE])
            .on_missing_key(MissingKey::Mint)
            .statuses(StatusPolicy::successes())
            .echo_key()
            .ttl(DAY * 30)
            .render(StripeErrors)
    }

    /// Adyen: keys of 64 characters at most, every response is kept for 7 days unless it says
    /// `transient-error: true`.
    pub fn adyen(self) -> Self {
        self.key_lengths(1..=64)
            .statuses(StatusPolicy::of(|_, headers| {
                let is_transient = headers
                    .get("transient-error")
                    .is_some_and(|is| is == "true");
                if is_transient {
                    Recording::Release
                } else {
                    Recording::Store
                }
            }))
            .ttl(DAY * 7)
    }

    /// `GoCardless`: a retry of what has succeeded is a 409 that points to the resource with `Location`,
    /// if the first response did.
    pub fn gocardless(self) -> Self {
        self.methods([Method::POST])
            .statuses(StatusPolicy::of(|status, _| {
                if status.is_success() {
                    Recording::Tombstone
                } else {
                    Recording::Release
                }
            }))
    }

    /// Square: the key is `idempotency_key` in the JSON body, and required. 45 characters.
    pub fn square(self) -> Self {
        self.key_source(KeySource::json_pointer("/idempotency_key"))
            .on_missing_key(MissingKey::Refuse)
            .key_lengths(1..=45)
    }

    /// `PayPal`: the header is `PayPal-Request-Id`. What it does beside, to answer a retry with the
    /// resource's latest status, is the handler's to do.
    pub fn paypal(self) -> Self {
        self.key_source(KeySource::header(HeaderName::from_static(
            "paypal-request-id",
        )))
        .key_lengths(1..=108)
    }

    /// AIP-155: the key is a UUID in `requestId` of the JSON body.
    pub fn aip_155(self) -> Self {
        self.key_source(KeySource::json_pointer("/requestId"))
            .uuid_keys()
            .fingerprint(RequestFingerprint::json())
    }

    /// Webhooks in the manner of Stripe's events: the key is `id` in the JSON body. Only 2xx ends the
    /// sender's retries, so nothing else is kept. `created` and the like may differ in a redelivery, so
    /// that the id alone is compared.
    ///
    /// Verify the signature in a layer outside of this one: a forged event must not take a key.
    pub fn stripe_webhooks(self) -> Self {
        self.webhooks(KeySource::json_pointer("/id"))
    }

    /// Webhooks in the manner of GitHub's: the key is the header `X-GitHub-Delivery`.
    ///
    /// Verify the signature in a layer outside of this one: a forged delivery must not take a key.
    pub fn github_webhooks(self) -> Self {
        self.webhooks(KeySource::header(HeaderName::from_static(
            "x-github-delivery",
        )))
    }

    fn webhooks(self, source: KeySource) -> Self {
        self.methods([Method::POST])
            .key_source(source)
            .on_missing_key(MissingKey::Refuse)
            .statuses(StatusPolicy::successes())
            .fingerprint(RequestFingerprint::none())
    }
}
