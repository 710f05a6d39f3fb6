//! Key templates, from the literal to the key: what the macro makes of a literal says the same as
//! the literal, and the values can be read back from a key, so that no two lists of values give one.
//!
//! The first line is the literal, the others are values.

#![no_main]

use idempotent_core::{Key, KeyError, KeyTemplate};
use idempotent_fuzz::expansion::expand;
use idempotent_fuzz::values::Reader;
use libfuzzer_sys::fuzz_target;
use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};

fuzz_target!(|text: &str| {
    let (source, values) = text.split_once('\n').unwrap_or((text, ""));
    if source.len() > 64 || source.matches(['(', '[', '<']).count() > 16 {
        return;
    }
    let Some(template) = Template::expanded(source) else {
        return;
    };
    template.check();
    let again = Template::expanded(&template.source()).expect("what was written is a template");
    assert_eq!(again, template);

    let mut values = values.split('\n');
    let count = template
        .parts
        .iter()
        .filter(|part| matches!(part, Part::Value(_)))
        .count();
    let values = (0..count)
        .map(|_| values.next().unwrap_or_default())
        .collect::<Vec<_>>();
    let pair = (template.key("a", &values), template.key("b", &values));
    if let (Ok(key), Ok(_)) = pair {
        assert_eq!(template.read(key.value()), values);
    }
});

#[derive(Debug, PartialEq)]
struct Template {
    ends: String,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Value(String),
}

impl Template {
    /// What the macro makes of a literal, unless it refuses it.
    fn expanded(source: &str) -> Option<Self> {
        let args = format!("key = {}", Literal::string(source));
        let expansion = expand(args.parse().expect("tokens"));
        find(expansion)
    }

    /// The literal that it may have been.
    fn source(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            Part::Value(value) => format!("{{{value}}}"),
        });
        parts.collect()
    }

    fn check(&self) {
        for pair in self.parts.windows(2) {
            match pair {
                [Part::Value(_), Part::Text(text)] => {
                    assert!(
                        text.starts_with(|c| self.ends.contains(c)),
                        "{text} ends a value"
                    );
                }
                [Part::Text(_), Part::Value(_)] => {}
                _ => panic!("{pair:?} has nothing between"),
            }
        }
    }

    fn key(&self, scope: &str, values: &[&str]) -> Result<Key, KeyError> {
        let mut values = values.iter();
        let mut template = KeyTemplate::new(leak(&self.ends));
        for part in &self.parts {
            template = match part {
                Part::Text(text) => template.text(leak(text)),
                Part::Value(_) => template.value(values.next().expect("a value for each")),
            };
        }
        Key::of(scope, &template).map(|key| key.expect("a template is no `Option`"))
    }

    /// The values, from the key and the template alone.
    fn read(&self, key: &str) -> Vec<String> {
        let mut reader = Reader(key);
        let mut values = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => reader.skip(&text.replace('%', "%%")),
                Part::Value(_) => values.push(reader.value(&self.ends)),
            }
        }
        reader.skip("");
        assert_eq!(reader.0, "");
        values
    }
}

/// Finds `KeyTemplate::new(..).text(..).value(..)`.
fn find(tokens: TokenStream) -> Option<Template> {
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        let found = match token {
            TokenTree::Ident(ident) if ident == "KeyTemplate" => return Some(read(tokens)),
            TokenTree::Group(group) => find(group.stream()),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn read(tokens: impl Iterator<Item = TokenTree>) -> Template {
    let mut template = Template {
        ends: String::new(),
        parts: Vec::new(),
    };
    let mut method = String::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => method = ident.to_string(),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
                let argument = group.stream();
                match method.as_str() {
                    "new" => template.ends = text(argument),
                    "text" => template.parts.push(Part::Text(text(argument))),
                    "value" => template.parts.push(Part::Value(referred(argument))),
                    method => panic!("{method} is no part of a template"),
                }
            }
            _ => {}
        }
    }
    template
}

/// The value of a string literal.
fn text(argument: TokenStream) -> String {
    syn::parse2::<syn::LitStr>(argument)
        .expect("a string")
        .value()
}

/// The `x` of `&x`.
fn referred(argument: TokenStream) -> String {
    argument
        .into_iter()
        .skip(1)
        .collect::<TokenStream>()
        .to_string()
}

/// A template's text is a literal, which lives for ever; a few bytes of each run may.
fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
