//! Lengths of time, such as `"24h"` or an expression of type `Duration`.

use syn::{Error, Expr, ExprLit, Lit, LitStr};

/// The units of a duration literal, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60 * 1_000),
    ("h", 60 * 60 * 1_000),
    ("d", 24 * 60 * 60 * 1_000),
];

/// The value of an argument that is a length of time.
pub(crate) enum Length {
    /// A literal such as `"24h"`, in milliseconds. Never zero.
    Millis(u64),
    /// An expression of type `Duration`, known at run time only.
    Expr(Expr),
}

impl Length {
    /// Understands the value of the argument `name`.
    pub(crate) fn new(name: &str, value: &Expr) -> syn::Result<Self> {
        match value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Self::literal(name, text).map(Self::Millis),
            Expr::Lit(ExprLit { lit, .. }) => Err(Error::new(
                lit.span(),
                format!(
                    "`{name}` needs a unit, as in `\"30s\"`, or an expression of type `Duration`"
                ),
            )),
            value => Ok(Self::Expr(value.clone())),
        }
    }

    /// The length, if it is known.
    pub(crate) const fn millis(&self) -> Option<u64> {
        match self {
            Self::Millis(millis) => Some(*millis),
            Self::Expr(_) => None,
        }
    }

    fn literal(name: &str, text: &LitStr) -> syn::Result<u64> {
        let problem = match parse(&text.value()) {
            Ok(0) => format!("`{name}` cannot be zero"),
            Ok(millis) => return Ok(millis),
            Err(problem) => problem,
        };
        Err(Error::new(text.span(), problem))
    }
}

/// Counts the milliseconds of a number and its unit.
fn parse(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    let Some((_, millis)) = unit.filter(|_| !number.is_empty()) else {
        return Err(format!(
            "invalid duration `{text}`; expected a number and one of `ms`, `s`, `m`, `h`, `d`, \
             as in `\"24h\"`"
        ));
    };
    let number = number.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(*millis))
        .ok_or_else(|| format!("duration `{text}` is too long"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(parse("250ms"), Ok(250));
        assert_eq!(parse("30s"), Ok(30_000));
        assert_eq!(parse("15m"), Ok(900_000));
        assert_eq!(parse("24h"), Ok(86_400_000));
        assert_eq!(parse("7d"), Ok(604_800_000));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", "s", "24", "24 h", " 24h", "24H", "1.5h", "-1s", "1h30m", "1w", "soon",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("invalid duration"), "{text}: {error}");
        }
    }

    #[test]
    fn a_duration_that_no_counter_holds_is_refused() {
        for text in ["99999999999999999999s", "18446744073709551615d"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, format!("duration `{text}` is too long"));
        }
    }
}
