//! What `#[async_trait]` makes of an `async fn` before our attribute sees it.

use proc_macro2::Ident;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{
    Block, Expr, ExprAsync, ExprCall, GenericArgument, Local, LocalInit, Pat, PatIdent, PatWild,
    Path, Stmt, Token, Type, TypeParamBound,
};

use crate::item::Body;
use crate::shape::generic_arguments;

/// A function that boxes its future.
pub(crate) struct Boxed {
    /// What stands before the future.
    pub(crate) before: Vec<Stmt>,
    /// `Box::pin`.
    pub(crate) pin: Expr,
    /// Statements at the start of the future that only take the arguments apart.
    pub(crate) bindings: Vec<Local>,
    /// The future, without those.
    pub(crate) future: Expr,
}

impl Boxed {
    /// Finds the future at the end of `body`.
    ///
    /// This is a heuristic: it takes the argument of the last expression, if that calls something
    /// whose name ends in `pin`. It is wrong for a function of that name which does something else.
    pub(crate) fn find(body: &Body) -> Option<Self> {
        let mut before = Block::parse_within.parse2(body.tokens.clone()).ok()?;
        let Some(Stmt::Expr(Expr::Call(ExprCall { func, args, .. }), None)) = before.pop() else {
            return None;
        };
        let Expr::Path(callee) = &*func else {
            return None;
        };
        let is_pin = callee.path.segments.last()?.ident == "pin";
        let mut future = exactly_one(args).filter(|_| is_pin)?;
        let bindings = take_bindings(&mut future);
        Some(Self {
            before,
            pin: *func,
            bindings,
            future,
        })
    }

    /// Finds the pattern that takes `argument` apart, if the future does that.
    pub(crate) fn pattern_of(&self, argument: &Pat) -> Option<&Pat> {
        let Pat::Ident(PatIdent { ident, .. }) = argument else {
            return None;
        };
        let mut bindings = self.bindings.iter();
        let binding = bindings.find(|binding| bound_argument(binding) == Some(ident))?;
        Some(&binding.pat)
    }
}

/// Takes out of `future` the statements that give the arguments the names that the user gave them.
///
/// Done before the key is evaluated, they let it use those names, and are a use of a name that only
/// the key needs. What stays is `self`, which has a name already, and what is `mut`: the body alone
/// changes it.
//
// Input:
//     async move {
//         if let Some(__ret) = None::<R> { return __ret; }
//         let __self = self;
//         let id = id;
//         let (a, b) = { let __arg2 = __arg2; __arg2 };
//         let __ret: R = { body };
//         __ret
//     }
//
// Output:
//     async move {
//         if let Some(__ret) = None::<R> { return __ret; }
//         let __self = self;
//         let __ret: R = { body };
//         __ret
//     }
fn take_bindings(future: &mut Expr) -> Vec<Local> {
    let Expr::Async(ExprAsync { block, .. }) = future else {
        return Vec::new();
    };
    // Whoever wrote the block by hand has chosen the order of its statements.
    if !matches!(block.stmts.first(), Some(Stmt::Expr(Expr::If(_), None))) {
        return Vec::new();
    }
    let after_first = block.stmts.split_off(1);
    let mut stmts = after_first.into_iter().peekable();
    let mut bindings = Vec::new();
    while let Some(stmt) = stmts.next_if(is_binding) {
        match stmt {
            Stmt::Local(binding) if can_be_early(&binding) => bindings.push(as_written(binding)),
            stmt => block.stmts.push(stmt),
        }
    }
    block.stmts.extend(stmts);
    bindings
}

fn is_binding(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Local(local) if bound_argument(local).is_some())
}

fn can_be_early(binding: &Local) -> bool {
    let is_mut = matches!(&binding.pat, Pat::Ident(pat) if pat.mutability.is_some());
    !is_mut && bound_argument(binding).is_some_and(|name| name != "self")
}

/// Turns `let __arg1 = __arg1;`, which stands for an argument that was written `_`, back into it.
fn as_written(mut binding: Local) -> Local {
    if let Pat::Ident(PatIdent { ident, .. }) = &binding.pat
        && ident.to_string().starts_with("__arg")
    {
        binding.pat = Pat::Wild(PatWild {
            attrs: Vec::new(),
            underscore_token: Token![_](ident.span()),
        });
    }
    binding
}

/// The `x` of `let pattern = x;` and of `let pattern = { let x = x; x };`.
fn bound_argument(local: &Local) -> Option<&Ident> {
    let LocalInit { expr, diverge, .. } = local.init.as_ref()?;
    if diverge.is_some() || matches!(local.pat, Pat::Type(_)) {
        return None;
    }
    let expr = match &**expr {
        Expr::Block(block) => match block.block.stmts.last()? {
            Stmt::Expr(expr, None) => expr,
            _ => return None,
        },
        expr => expr,
    };
    match expr {
        Expr::Path(path) => path.path.get_ident(),
        _ => None,
    }
}

fn exactly_one<T>(list: Punctuated<T, Token![,]>) -> Option<T> {
    let mut list = list.into_iter();
    list.next().filter(|_| list.len() == 0)
}

/// Finds `R` in `Pin<Box<dyn Future<Output = R> + Send>>`.
///
/// This is a heuristic: it takes the first `Output = ..`, and finds none behind an alias.
pub(crate) fn future_output(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Path(ty) => generic_arguments(&ty.path).find_map(|argument| match argument {
            GenericArgument::Type(inner) => future_output(inner),
            _ => None,
        }),
        Type::TraitObject(object) => object.bounds.iter().find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => assoc_output(&bound.path),
            _ => None,
        }),
        _ => None,
    }
}

fn assoc_output(path: &Path) -> Option<&Type> {
    generic_arguments(path).find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
        _ => None,
    })
}
