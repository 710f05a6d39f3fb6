//! An expansion means the same wherever it stands.

use idempotency::{Engine, Error, MemoryStore, idempotent};

/// Everything that an expansion could mention is something else here.
mod shadowed {
    #![expect(
        dead_code,
        non_camel_case_types,
        reason = "all of it is only in the way"
    )]
    #![expect(unused_imports, unused_macros, reason = "all of it is only in the way")]

    pub(crate) mod core {}
    pub(crate) mod std {}
    pub(crate) mod idempotency {}
    pub(crate) mod idempotent_core {}

    pub(crate) struct Duration;
    pub(crate) struct Future;
    pub(crate) struct Site;
    pub(crate) struct Start;
    pub(crate) struct OnPanic;
    pub(crate) struct KeyTemplate;
    pub(crate) struct String;
    pub(crate) struct Option;
    pub(crate) struct u64;
    pub(crate) struct str;
    pub(crate) struct bool;

    pub(crate) fn engine() {}
    pub(crate) fn operation() {}
    pub(crate) fn installed() {}

    macro_rules! concat {
        ($($tokens:tt)*) => {
            compile_error!("not this one")
        };
    }
    macro_rules! module_path {
        ($($tokens:tt)*) => {
            compile_error!("not this one")
        };
    }
    macro_rules! file {
        ($($tokens:tt)*) => {
            compile_error!("not this one")
        };
    }
    macro_rules! line {
        ($($tokens:tt)*) => {
            compile_error!("not this one")
        };
    }
    pub(crate) use {concat, file, line, module_path};

    type Result = ::core::result::Result<Plain, ::idempotency::Error>;
    type Plain = ::core::primitive::u32;

    #[::idempotency::idempotent(
        key = "{id}:{id}",
        ttl = "1h",
        engine = handle,
        on_panic = hold,
        on_conflict = wait("1s"),
        ctx = attempt
    )]
    pub(crate) async fn charge(handle: &::idempotency::Engine, id: Plain) -> Result {
        // The names that the expansion uses for itself are free, too.
        let (__operation, __running, __reply, __never, __args) = (1, 1, 1, 1, 1);
        Result::Ok(id + __operation + __running + __reply + __never + __args + attempt.number())
    }
}

#[tokio::test]
async fn names_of_the_user_do_not_matter() {
    let engine = Engine::new(MemoryStore::new());
    assert_eq!(shadowed::charge(&engine, 1).await.unwrap(), 7);
    assert_eq!(shadowed::charge(&engine, 1).await.unwrap(), 7);
}

/// Arguments may have the names that the expansion uses.
#[idempotent(key = __operation, engine = engine)]
async fn oddly_named(
    engine: &Engine,
    __operation: u32,
    __args: u32,
    r#type: u32,
) -> Result<u32, Error> {
    Ok(__operation + __args + r#type)
}

#[tokio::test]
async fn names_of_arguments_do_not_matter() {
    let engine = Engine::new(MemoryStore::new());
    assert_eq!(oddly_named(&engine, 1, 2, 3).await.unwrap(), 6);
    let error = oddly_named(&engine, 1, 3, 3).await.unwrap_err();
    assert!(matches!(error, Error::FingerprintMismatch), "{error:?}");
}

mod renamed {
    pub(crate) use idempotency as retry;

    #[retry::idempotent(crate = crate::renamed::retry, key = id, ttl = "1h", engine = engine)]
    pub(crate) async fn charge(engine: &retry::Engine, id: u32) -> Result<u32, retry::Error> {
        Ok(id)
    }
}

#[tokio::test]
async fn the_facade_may_have_another_name() {
    let engine = Engine::new(MemoryStore::new());
    assert_eq!(renamed::charge(&engine, 1).await.unwrap(), 1);
}

mod without_the_facade {
    use idempotent_core::{Engine, Error};
    use idempotent_macros::idempotent;

    #[idempotent(crate = ::idempotent_core, key = "{id}", ttl = "1h", engine = engine)]
    pub(crate) async fn charge(engine: &Engine, id: u32) -> Result<u32, Error> {
        Ok(id)
    }
}

#[tokio::test]
async fn core_and_macros_work_without_the_facade() {
    let engine = Engine::new(MemoryStore::new());
    assert_eq!(without_the_facade::charge(&engine, 1).await.unwrap(), 1);
}

/// Writes a function whose tokens come from two places.
macro_rules! charge {
    ($name:ident, $id:ident, $key:literal, $ttl:expr, $reply:ty) => {
        #[idempotent(crate = $crate::renamed::retry, key = $key, ttl = $ttl, engine = engine)]
        async fn $name(engine: &Engine, $id: u32) -> $reply {
            let id = 40;
            Ok(id + $id)
        }
    };
}

charge!(from_a_macro, id, "{id}", "1h", Result<u32, Error>);

#[tokio::test]
async fn a_macro_may_write_the_function() {
    let engine = Engine::new(MemoryStore::new());
    assert_eq!(from_a_macro(&engine, 2).await.unwrap(), 42);
}
