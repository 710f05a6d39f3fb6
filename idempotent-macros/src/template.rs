//! Key templates, such as `"{order.customer}:{order.request_id}"`.

use std::collections::BTreeSet;

use proc_macro2::Span;
use syn::{Error, Expr, LitStr, Result};

/// A key of literal text and of values that differ from call to call.
///
/// The core writes the values into the key. It escapes the characters in them that could end a
/// value, so that two different lists of values never give one key.
pub(crate) struct Template {
    pub(crate) span: Span,
    pub(crate) parts: Vec<Part>,
}

pub(crate) enum Part {
    /// Text between placeholders. Never empty, and never beside another text.
    Text(String),
    /// A placeholder's value: an argument, a field of one, or what a method of one returns.
    Value(Expr),
}

impl Template {
    /// Understands a literal in which `{{` and `}}` stand for braces, as in `format!`.
    pub(crate) fn new(literal: &LitStr) -> Result<Self> {
        let parts = Parser {
            literal,
            text: String::new(),
            parts: Vec::new(),
        }
        .parse()?;
        if !parts.iter().any(|part| matches!(part, Part::Value(_))) {
            return Err(Error::new(
                literal.span(),
                "this key is the same for every call; put a placeholder in it, as in \
                 `\"{order.id}\"`, or write `Key::fixed(\"..\")` if that is meant",
            ));
        }
        Ok(Self {
            span: literal.span(),
            parts,
        })
    }

    /// Collects the characters that end a value: those that the text after one starts with.
    pub(crate) fn ends(&self) -> String {
        let pairs = self.parts.windows(2);
        let ends = pairs.filter_map(|pair| match pair {
            [Part::Value(_), Part::Text(text)] => text.chars().next(),
            _ => None,
        });
        ends.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

struct Parser<'a> {
    literal: &'a LitStr,
    text: String,
    parts: Vec<Part>,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<Vec<Part>> {
        let source = self.literal.value();
        let mut rest = source.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            let (text, braces) = rest.split_at(at);
            self.text.push_str(text);
            rest = self.brace(braces)?;
        }
        self.text.push_str(rest);
        self.end_text();
        Ok(self.parts)
    }

    /// Consumes an escaped brace or a placeholder at the start of `rest`, and returns what follows.
    fn brace<'r>(&mut self, rest: &'r str) -> Result<&'r str> {
        if let Some(after) = rest.strip_prefix("{{") {
            self.text.push('{');
            return Ok(after);
        }
        if let Some(after) = rest.strip_prefix("}}") {
            self.text.push('}');
            return Ok(after);
        }
        let Some(inside) = rest.strip_prefix('{') else {
            return Err(self.error("`}` without a `{` before it; write `}}` for a brace"));
        };
        let Some((value, after)) = inside.split_once('}') else {
            return Err(self.error("`{` without a `}` after it; write `{{` for a brace"));
        };
        self.end_text();
        if let Some(Part::Value(_)) = self.parts.last() {
            return Err(self.error(&format!(
                "nothing separates `{{{value}}}` from the placeholder before it, so that different \
                 values could give one key; put a text between them, as in `{{a}}:{{b}}`"
            )));
        }
        self.parts.push(Part::Value(self.value(value)?));
        Ok(after)
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.text)));
        }
    }

    fn value(&self, source: &str) -> Result<Expr> {
        let value = LitStr::new(source, self.literal.span()).parse::<Expr>();
        value.ok().filter(is_place).ok_or_else(|| {
            self.error(&format!(
                "`{{{source}}}` is not a placeholder; expected an argument, a field or a method \
                 call, as in `{{order.id}}`"
            ))
        })
    }

    fn error(&self, message: &str) -> Error {
        Error::new(self.literal.span(), message)
    }
}

/// Tells whether a person would still read `expr` as the name of a value.
fn is_place(expr: &Expr) -> bool {
    match expr {
        Expr::Path(_) => true,
        Expr::Field(field) => is_place(&field.base),
        Expr::Index(index) => is_place(&index.expr),
        Expr::MethodCall(call) => is_place(&call.receiver),
        Expr::Call(call) => is_place(&call.func),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;
    use quote::ToTokens;
    use syn::LitStr;

    use super::{Part, Template};

    fn template(source: &str) -> syn::Result<Template> {
        Template::new(&LitStr::new(source, Span::call_site()))
    }

    fn parts(source: &str) -> Vec<String> {
        let parts = template(source).unwrap().parts;
        parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => format!("{text:?}"),
                Part::Value(expr) => expr.to_token_stream().to_string().replace(' ', ""),
            })
            .collect()
    }

    fn error(source: &str) -> String {
        template(source).err().unwrap().to_string()
    }

    #[test]
    fn a_template_is_text_and_values() {
        assert_eq!(parts("{order.id}"), ["order.id"]);
        assert_eq!(
            parts("order:{a.b().c}/{pair.0}"),
            ["\"order:\"", "a.b().c", "\"/\"", "pair.0"]
        );
        assert_eq!(
            parts("{tenant()}-{self.ids[0]}"),
            ["tenant()", "\"-\"", "self.ids[0]"]
        );
    }

    #[test]
    fn doubled_braces_are_text() {
        assert_eq!(parts("{{{id}}}"), ["\"{\"", "id", "\"}\""]);
        assert_eq!(parts("{{}}{id}"), ["\"{}\"", "id"]);
    }

    #[test]
    fn a_value_ends_where_the_text_after_it_starts() {
        let ends = |source| template(source).unwrap().ends();
        assert_eq!(ends("order-{x}:{y}/{z}:end"), "/:");
        assert_eq!(ends("order-{x}"), "");
    }

    #[test]
    fn a_template_without_a_placeholder_is_refused() {
        for source in ["", "orders", "{{id}}"] {
            assert!(error(source).contains("Key::fixed"), "{source}");
        }
    }

    #[test]
    fn placeholders_need_text_between_them() {
        assert!(error("{a}{b}").starts_with("nothing separates `{b}`"));
    }

    #[test]
    fn unmatched_braces_are_refused() {
        assert!(error("{id").starts_with("`{` without a `}`"));
        assert!(error("id}").starts_with("`}` without a `{`"));
        assert!(error("{id}}").starts_with("`}` without a `{`"));
    }

    #[test]
    fn a_placeholder_names_a_value() {
        for source in [
            "{}", "{0}", "{id:?}", "{a + b}", "{&id}", "{\"id\"}", "{a b}", "{id?}",
        ] {
            assert!(error(source).contains("is not a placeholder"), "{source}");
        }
    }
}
