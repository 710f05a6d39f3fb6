use std::borrow::Cow;
use std::convert::Infallible;

use http::HeaderValue;
use sfv::visitor::{Ignored, ParameterVisitor, parameter_visitor_with};
use sfv::{BareItemFromInput, Parser};

use super::{InvalidKey, KeySyntax};

/// Reads the key from the lines of the field, or `None` if there is none.
#[expect(single_use_lifetimes, reason = "`impl Trait` wants it named")]
pub(crate) fn parse<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
    syntax: KeySyntax,
) -> Result<Option<String>, InvalidKey> {
    let mut lines = lines.into_iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(InvalidKey::Repeated);
    }
    let value = line.as_bytes().trim_ascii();
    if value.is_empty() {
        return Err(InvalidKey::Empty);
    }
    let is_quoted = value.starts_with(b"\"");
    let key = match syntax {
        KeySyntax::Lenient if !is_quoted => bare(value)?,
        KeySyntax::Lenient | KeySyntax::Strict => string(value).ok_or(InvalidKey::NotAString)?,
    };
    if key.is_empty() {
        return Err(InvalidKey::Empty);
    }
    Ok(Some(key.into_owned()))
}

/// A value without quotes: whatever cannot be taken for two values, or for a value and parameters.
fn bare(value: &[u8]) -> Result<Cow<'_, str>, InvalidKey> {
    if value.contains(&b',') {
        return Err(InvalidKey::Repeated);
    }
    match str::from_utf8(value) {
        Ok(text) if is_bare(text) => Ok(Cow::Borrowed(text)),
        Ok(_) | Err(_) => Err(InvalidKey::Characters),
    }
}

fn is_bare(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'!'..=b'~') && !b"\",;\\".contains(&byte))
}

/// Writes a key as the header has it: bare where that is enough, else as a String of RFC 9651.
pub(crate) fn write(key: &str) -> Cow<'_, str> {
    if is_bare(key) {
        return Cow::Borrowed(key);
    }
    format!("\"{}\"", key.replace('\\', r"\\").replace('"', "\\\"")).into()
}

/// A String of RFC 9651, section 3.3.3, whose parameters are ignored.
fn string(value: &[u8]) -> Option<Cow<'_, str>> {
    Parser::new(value).parse_item_with_visitor(text_of).ok()?
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "this is what a visitor of items looks like"
)]
fn text_of(
    item: BareItemFromInput<'_>,
) -> Result<impl ParameterVisitor<'_, Out = Option<Cow<'_, str>>>, Infallible> {
    Ok(parameter_visitor_with(Ignored, move |()| {
        Ok(match item {
            BareItemFromInput::String(Cow::Borrowed(text)) => Some(Cow::Borrowed(text.as_str())),
            BareItemFromInput::String(Cow::Owned(text)) => Some(Cow::Owned(text.into())),
            _ => None,
        })
    }))
}
