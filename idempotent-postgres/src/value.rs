//! What goes into statements and comes out of rows, whatever the driver.

use std::fmt;

/// A parameter of a statement. `Debug` does not show it: drivers log what they send.
#[derive(Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Blobs(Vec<&'a [u8]>),
    Bytes(Option<&'a [u8]>),
    Flag(bool),
    Number(Option<i64>),
    Text(Option<&'a str>),
}

impl Value<'_> {
    pub(crate) const NO_BYTES: Self = Self::Bytes(None);
    pub(crate) const NO_NUMBER: Self = Self::Number(None);
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blobs(_) => "bytea[]",
            Self::Bytes(_) => "bytea",
            Self::Flag(_) => "boolean",
            Self::Number(_) => "bigint",
            Self::Text(_) => "text",
        })
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

/// A row of an answer.
pub(crate) trait Cells {
    fn blobs(&self, column: usize) -> Cell<Vec<Vec<u8>>>;
    fn bytes(&self, column: usize) -> Cell<&[u8]>;
    fn flag(&self, column: usize) -> Cell<bool>;
    fn number(&self, column: usize) -> Cell<i64>;
    fn text(&self, column: usize) -> Cell<&str>;
}

/// Makes a driver's row one, by the `cell` function of the module.
macro_rules! cells {
    ($row:ty) => {
        impl Cells for $row {
            fn blobs(&self, column: usize) -> Cell<Vec<Vec<u8>>> {
                cell(self, column)
            }

            fn bytes(&self, column: usize) -> Cell<&[u8]> {
                cell(self, column)
            }

            fn flag(&self, column: usize) -> Cell<bool> {
                cell(self, column)
            }

            fn number(&self, column: usize) -> Cell<i64> {
                cell(self, column)
            }

            fn text(&self, column: usize) -> Cell<&str> {
                cell(self, column)
            }
        }
    };
}

pub(crate) use cells;

/// What is in a column, if it is not NULL.
pub(crate) type Cell<T> = Result<Option<T>, OtherType>;

/// The column is of another type, or is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherType;
