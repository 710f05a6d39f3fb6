//! What the attribute expands to, for a person to read.

use expect_test::{Expect, expect};
use proc_macro2::TokenStream;
use quote::quote;

fn check(args: TokenStream, item: &TokenStream, expected: &Expect) {
    let expanded = crate::attribute(args, item).to_string();
    // The path is the same everywhere; without it, the code is as a person would write it.
    let expanded = expanded.replace(":: idempotency :: __private :: ", "");
    let file = syn::parse_str(&expanded).unwrap();
    expected.assert_eq(&prettyplease::unparse(&file));
}

/// The usual case: what is not said is up to the engine.
#[test]
fn a_function() {
    check(
        quote!(
            key = "{order.customer}:{order.id}",
            ttl = "24h",
            engine = engine,
            skip(db)
        ),
        &quote! {
            /// Creates an order.
            pub(crate) async fn create(engine: &Engine, db: &Db, order: NewOrder) -> Result<Order, OrderError> {
                db.insert(&order).await
            }
        },
        &expect![[r#"
            /// Creates an order.
            pub(crate) async fn create(
                engine: &Engine,
                db: &Db,
                order: NewOrder,
            ) -> Result<Order, OrderError> {
                static __SITE: Site = Site::new(core::concat!(core::module_path!(), "::create"));
                let __operation = operation(engine(&engine), &__SITE)
                    .key_ref(
                        &KeyTemplate::new(":").value(&order.customer).text(":").value(&order.id),
                    )
                    .fingerprint_args(|__args| __args.arg("order", &order))
                    .ttl(core::time::Duration::from_secs(86400));
                match Operation::begin(__operation).await {
                    Start::Return(__reply) => __reply,
                    Start::Run(__running) => {
                        Running::finish(
                                __running,
                                async move {
                                    if let core::option::Option::Some(__never) = core::option::Option::<
                                        Result<Order, OrderError>,
                                    >::None {
                                        return __never;
                                    }
                                    db.insert(&order).await
                                },
                            )
                            .await
                    }
                }
            }
        "#]],
    );
}

/// The engine of a method is usually a field, and arguments are used by the names they bind.
#[test]
fn a_method_with_patterns() {
    check(
        quote!(key = (self.tenant, id), engine = self.engine),
        &quote! {
            async fn rename(&mut self, Id(id): Id, _: Audit, mut name: String) -> Result<(), Error> {
                name.push('!');
                self.names.insert(id, name).ok_or(Error::Missing)
            }
        },
        &expect![[r#"
            async fn rename(&mut self, Id(id): Id, _: Audit, mut name: String) -> Result<(), Error> {
                static __SITE: Site = Site::new(core::concat!(core::module_path!(), "::rename"));
                let __operation = operation(engine(&self.engine), &__SITE)
                    .key_ref(&(&self.tenant, &id))
                    .fingerprint_args(|__args| __args.arg("id", &id).arg("name", &name));
                match Operation::begin(__operation).await {
                    Start::Return(__reply) => __reply,
                    Start::Run(__running) => {
                        Running::finish(
                                __running,
                                async move {
                                    if let core::option::Option::Some(__never) = core::option::Option::<
                                        Result<(), Error>,
                                    >::None {
                                        return __never;
                                    }
                                    let _ = &name;
                                    name.push('!');
                                    self.names.insert(id, name).ok_or(Error::Missing)
                                },
                            )
                            .await
                    }
                }
            }
        "#]],
    );
}

/// The body writes through a transaction, and the store that opens it is no part of the fingerprint.
#[test]
fn a_transaction() {
    check(
        quote!(
            key = id,
            engine = self.engine,
            ctx = run,
            transaction(tx in store)
        ),
        &quote! {
            async fn create(&self, store: &Store, id: u64) -> Result<(), Error> {
                tx.insert(id, run.number()).await
            }
        },
        &expect![[r#"
            async fn create(&self, store: &Store, id: u64) -> Result<(), Error> {
                static __SITE: Site = Site::new(core::concat!(core::module_path!(), "::create"));
                let __operation = operation(engine(&self.engine), &__SITE)
                    .key_ref(&id)
                    .fingerprint_args(|__args| __args.arg("id", &id));
                match Operation::seat(__operation) {
                    core::result::Result::Err(__reply) => __reply,
                    core::result::Result::Ok(__seat) => {
                        let __reply = match Seat::begin(&__seat, &store).await {
                            Begun::Return(__reply) => __reply,
                            Begun::Run(mut __running) => {
                                let run = __running.attempt();
                                let tx = InTransaction::transaction(&mut __running);
                                let __ended = caught(async move {
                                        if let core::option::Option::Some(__never) = core::option::Option::<
                                            Result<(), Error>,
                                        >::None {
                                            return __never;
                                        }
                                        tx.insert(id, run.number()).await
                                    })
                                    .await;
                                InTransaction::finish(__running, __ended).await
                            }
                        };
                        __reply
                    }
                }
            }
        "#]],
    );
}

/// Everything that can be said.
#[test]
fn every_policy() {
    check(
        quote! {
            crate = crate::idem,
            key = Key::fixed("nightly"),
            scope = "reports.nightly",
            ttl = config.ttl,
            lease = "90s",
            engine = config.engine(),
            fingerprint = &config.day,
            on_conflict = wait("250ms"),
            on_error = classify,
            on_abandoned = verify(find_report(&config)),
            on_cancel = detach,
            on_panic = release,
            on_store_failure = run_unprotected,
            on_unrecorded = return,
            ctx = run,
        },
        &quote! {
            async fn nightly(config: Config) -> Result<Report, Error> {
                run.step("build", |_| build(config)).await
            }
        },
        &expect![[r#"
            async fn nightly(config: Config) -> Result<Report, Error> {
                static __SITE: crate::idem::__private::Site = crate::idem::__private::Site::new(
                    "reports.nightly",
                );
                let __operation = crate::idem::__private::operation(
                        crate::idem::__private::engine(&config.engine()),
                        &__SITE,
                    )
                    .key_ref(&Key::fixed("nightly"))
                    .fingerprint(&&config.day)
                    .ttl(config.ttl)
                    .lease(crate::idem::__private::core::time::Duration::from_secs(90))
                    .on_conflict(
                        crate::idem::__private::OnConflict::Wait(
                            crate::idem::__private::core::time::Duration::from_millis(250),
                        ),
                    )
                    .record_errors_if::<
                        <Result<Report, Error> as crate::idem::Reply>::Error,
                    >(classify)
                    .on_panic(crate::idem::__private::OnPanic::Release)
                    .on_store_failure(crate::idem::__private::OnStoreFailure::RunUnprotected)
                    .on_unrecorded(crate::idem::__private::OnUnrecorded::Return);
                match crate::idem::__private::Operation::begin_verified(
                        __operation,
                        || find_report(&config),
                    )
                    .await
                {
                    crate::idem::__private::Start::Return(__reply) => __reply,
                    crate::idem::__private::Start::Run(__running) => {
                        let run = __running.attempt();
                        crate::idem::__private::Running::finish_detached(
                                __running,
                                async move {
                                    if let crate::idem::__private::core::option::Option::Some(
                                        __never,
                                    ) = crate::idem::__private::core::option::Option::<
                                        Result<Report, Error>,
                                    >::None {
                                        return __never;
                                    }
                                    run.step("build", |_| build(config)).await
                                },
                            )
                            .await
                    }
                }
            }
        "#]],
    );
}

/// Without a fingerprint and without an engine.
#[test]
fn the_least() {
    check(
        quote!(key = id, fingerprint = none),
        &quote! {
            async fn cancel(id: u64) -> Result<(), Error> {
                todo!()
            }
        },
        &expect![[r#"
            async fn cancel(id: u64) -> Result<(), Error> {
                static __SITE: Site = Site::new(core::concat!(core::module_path!(), "::cancel"));
                let __operation = operation(installed(), &__SITE).key_ref(&id);
                match Operation::begin(__operation).await {
                    Start::Return(__reply) => __reply,
                    Start::Run(__running) => {
                        Running::finish(
                                __running,
                                async move {
                                    if let core::option::Option::Some(__never) = core::option::Option::<
                                        Result<(), Error>,
                                    >::None {
                                        return __never;
                                    }
                                    todo!()
                                },
                            )
                            .await
                    }
                }
            }
        "#]],
    );
}

/// `#[async_trait]` has rewritten the method before the attribute sees it. What takes the arguments
/// apart comes before the key.
#[test]
fn an_async_trait_method() {
    check(
        quote!(key = (id, line), engine = self.engine),
        &quote! {
            fn cancel<'life0, 'async_trait>(
                &'life0 self,
                id: u64,
                __arg2: (u64, u64),
                __arg3: Db,
            ) -> ::core::pin::Pin<Box<dyn ::core::future::Future<Output = Result<(), Error>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
            {
                Box::pin(async move {
                    if let ::core::option::Option::Some(__ret) = ::core::option::Option::None::<Result<(), Error>> {
                        #[allow(unreachable_code)]
                        return __ret;
                    }
                    let __self = self;
                    let id = id;
                    let (line, mut times) = {
                        let __arg2 = __arg2;
                        __arg2
                    };
                    let __arg3 = __arg3;
                    let __ret: Result<(), Error> = {
                        times += 1;
                        __self.db.cancel(id, line, times).await
                    };
                    #[allow(unreachable_code)]
                    __ret
                })
            }
        },
        &expect![[r#"
            fn cancel<'life0, 'async_trait>(
                &'life0 self,
                id: u64,
                __arg2: (u64, u64),
                __arg3: Db,
            ) -> ::core::pin::Pin<
                Box<dyn ::core::future::Future<Output = Result<(), Error>> + Send + 'async_trait>,
            >
            where
                'life0: 'async_trait,
            {
                Box::pin(async move {
                    let id = id;
                    let (line, mut times) = {
                        let __arg2 = __arg2;
                        __arg2
                    };
                    let _ = __arg3;
                    static __SITE: Site = Site::new(core::concat!(core::module_path!(), "::cancel"));
                    let __operation = operation(engine(&self.engine), &__SITE)
                        .key_ref(&(&id, &line))
                        .fingerprint_args(|__args| {
                            __args.arg("id", &id).arg("line", &line).arg("times", &times)
                        });
                    match Operation::begin(__operation).await {
                        Start::Return(__reply) => __reply,
                        Start::Run(__running) => {
                            Running::finish(
                                    __running,
                                    async move {
                                        if let ::core::option::Option::Some(__ret) = ::core::option::Option::None::<
                                            Result<(), Error>,
                                        > {
                                            #[allow(unreachable_code)] return __ret;
                                        }
                                        let __self = self;
                                        let __ret: Result<(), Error> = {
                                            times += 1;
                                            __self.db.cancel(id, line, times).await
                                        };
                                        #[allow(unreachable_code)] __ret
                                    },
                                )
                                .await
                        }
                    }
                })
            }
        "#]],
    );
}

/// On an error, callers and editors keep the function.
#[test]
fn an_error() {
    check(
        quote!(key = "order", ttl = "soon", on_panic = relase),
        &quote! {
            async fn charge(order: Order) -> Result<(), Error> {
                Ok(())
            }
        },
        &expect![[r#"
            #[allow(unused_variables, reason = "the attribute was not expanded")]
            async fn charge(order: Order) -> Result<(), Error> {
                Ok(())
            }
            ::core::compile_error! {
                "this key is the same for every call; put a placeholder in it, as in `\"{order.id}\"`, or write `Key::fixed(\"..\")` if that is meant"
            }
            ::core::compile_error! {
                "invalid duration `soon`; expected a number and one of `ms`, `s`, `m`, `h`, `d`, as in `\"24h\"`"
            }
            ::core::compile_error! {
                "unknown `on_panic` `relase`; did you mean `release`?"
            }
        "#]],
    );
}
