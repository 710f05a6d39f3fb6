//! Values of every shape that `serde` knows, and which of them are the same.

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A value, in one of the forms that it can have.
#[derive(Arbitrary, Clone, Debug)]
pub enum Shape {
    Unit(IsStruct),
    None,
    Some(Box<Self>),
    Bool(bool),
    Integer(Integer),
    Float(f64),
    SmallFloat(f32),
    Char(char),
    Text(String),
    LongText(u16),
    Bytes(Vec<u8>),
    Newtype(Box<Self>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    TupleStruct(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Struct(Vec<(Name, Self)>),
    UnitVariant(Name),
    Variant(Name, Box<Self>),
    TupleVariant(Name, Vec<Self>),
    StructVariant(Name, Vec<(Name, Self)>),
    /// What a `Serialize` must not do, or may refuse.
    Broken(Broken),
}

/// Whether a unit has a name.
type IsStruct = bool;

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Integer {
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(i128),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Name {
    Empty,
    A,
    B,
    Both,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Broken {
    KeyWithoutValue,
    Refused,
    TwoKeys,
    ValueWithoutKey,
}

/// The one value that stands for all that are the same; there is none for what is broken.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Normal {
    Unit,
    None,
    Some(Box<Self>),
    Bool(bool),
    Negative(i128),
    NonNegative(u128),
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    UnitVariant(&'static str),
    Variant(&'static str, Box<Self>),
}

impl Name {
    /// The name itself.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::A => "a",
            Self::B => "b",
            Self::Both => "ab",
        }
    }
}

impl Shape {
    /// What the value is, whatever its form; `None` if it is broken anywhere.
    pub fn normal(&self) -> Option<Normal> {
        let boxed = |value: &Self| value.normal().map(Box::new);
        let list = |values: &[Self]| -> Option<Normal> {
            Some(Normal::List(
                values.iter().map(Self::normal).collect::<Option<_>>()?,
            ))
        };
        let fields = |fields: &[(Name, Self)]| {
            let entry = |(name, value): &(Name, Self)| {
                Some((Normal::Text(name.text().to_owned()), value.normal()?))
            };
            Some(map(fields.iter().map(entry).collect::<Option<_>>()?))
        };
        Some(match self {
            Self::Unit(_) => Normal::Unit,
            Self::None => Normal::None,
            Self::Some(value) => Normal::Some(boxed(value)?),
            Self::Bool(value) => Normal::Bool(*value),
            Self::Integer(value) => value.normal(),
            Self::Float(value) => float(*value),
            Self::SmallFloat(value) => float((*value).into()),
            Self::Char(value) => Normal::Text(value.to_string()),
            Self::Text(value) => Normal::Text(value.clone()),
            Self::LongText(length) => Normal::Text(long(*length)),
            Self::Bytes(value) => Normal::Bytes(value.clone()),
            Self::Newtype(value) => value.normal()?,
            Self::List(values) | Self::Tuple(values) | Self::TupleStruct(values) => list(values)?,
            Self::Map(entries) => {
                let entry = |(key, value): &(Self, Self)| Some((key.normal()?, value.normal()?));
                map(entries.iter().map(entry).collect::<Option<_>>()?)
            }
            Self::Struct(named) => fields(named)?,
            Self::UnitVariant(name) => Normal::UnitVariant(name.text()),
            Self::Variant(name, value) => Normal::Variant(name.text(), boxed(value)?),
            Self::TupleVariant(name, values) => {
                Normal::Variant(name.text(), Box::new(list(values)?))
            }
            Self::StructVariant(name, named) => {
                Normal::Variant(name.text(), Box::new(fields(named)?))
            }
            Self::Broken(_) => return None,
        })
    }
}

impl Integer {
    fn normal(self) -> Normal {
        let signed = |value: i128| {
            u128::try_from(value).map_or(Normal::Negative(value), Normal::NonNegative)
        };
        match self {
            Self::I8(value) => signed(value.into()),
            Self::I16(value) => signed(value.into()),
            Self::I32(value) => signed(value.into()),
            Self::I64(value) => signed(value.into()),
            Self::I128(value) => signed(value),
            Self::U8(value) => Normal::NonNegative(value.into()),
            Self::U16(value) => Normal::NonNegative(value.into()),
            Self::U32(value) => Normal::NonNegative(value.into()),
            Self::U64(value) => Normal::NonNegative(value.into()),
            Self::U128(value) => Normal::NonNegative(value),
        }
    }
}

/// The order of entries does not count, but for those of one key.
fn map(mut entries: Vec<(Normal, Normal)>) -> Normal {
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Normal::Map(entries)
}

fn float(value: f64) -> Normal {
    Normal::Float(match value {
        value if value.is_nan() => f64::NAN.to_bits(),
        0.0 => 0,
        value => value.to_bits(),
    })
}

/// A text around the length from which on texts are represented by digests.
fn long(length: u16) -> String {
    "x".repeat(1020 + usize::from(length % 8))
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unit(false) => s.serialize_unit(),
            Self::Unit(true) => s.serialize_unit_struct("S"),
            Self::None => s.serialize_none(),
            Self::Some(value) => s.serialize_some(value),
            Self::Bool(value) => s.serialize_bool(*value),
            Self::Integer(value) => value.serialize(s),
            Self::Float(value) => s.serialize_f64(*value),
            Self::SmallFloat(value) => s.serialize_f32(*value),
            Self::Char(value) => s.serialize_char(*value),
            Self::Text(value) => s.serialize_str(value),
            Self::LongText(length) => s.serialize_str(&long(*length)),
            Self::Bytes(value) => s.serialize_bytes(value),
            Self::Newtype(value) => s.serialize_newtype_struct("S", value),
            Self::List(values) => {
                let mut list = s.serialize_seq(None)?;
                values
                    .iter()
                    .try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Self::Tuple(values) => {
                let mut list = s.serialize_tuple(values.len())?;
                values
                    .iter()
                    .try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Self::TupleStruct(values) => {
                let mut list = s.serialize_tuple_struct("S", values.len())?;
                values
                    .iter()
                    .try_for_each(|value| list.serialize_field(value))?;
                list.end()
            }
            Self::Map(entries) => {
                let mut map = s.serialize_map(None)?;
                entries
                    .iter()
                    .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
            Self::Struct(fields) => {
                let mut map = s.serialize_struct("S", fields.len())?;
                fields
                    .iter()
                    .try_for_each(|(name, value)| map.serialize_field(name.text(), value))?;
                map.end()
            }
            Self::UnitVariant(name) => s.serialize_unit_variant("E", 0, name.text()),
            Self::Variant(name, value) => s.serialize_newtype_variant("E", 0, name.text(), value),
            Self::TupleVariant(name, values) => {
                let mut list = s.serialize_tuple_variant("E", 1, name.text(), values.len())?;
                values
                    .iter()
                    .try_for_each(|value| list.serialize_field(value))?;
                list.end()
            }
            Self::StructVariant(name, fields) => {
                let mut map = s.serialize_struct_variant("E", 1, name.text(), fields.len())?;
                fields
                    .iter()
                    .try_for_each(|(name, value)| map.serialize_field(name.text(), value))?;
                map.end()
            }
            Self::Broken(broken) => broken.serialize(s),
        }
    }
}

impl Serialize for Integer {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::I8(value) => s.serialize_i8(value),
            Self::I16(value) => s.serialize_i16(value),
            Self::I32(value) => s.serialize_i32(value),
            Self::I64(value) => s.serialize_i64(value),
            Self::I128(value) => s.serialize_i128(value),
            Self::U8(value) => s.serialize_u8(value),
            Self::U16(value) => s.serialize_u16(value),
            Self::U32(value) => s.serialize_u32(value),
            Self::U64(value) => s.serialize_u64(value),
            Self::U128(value) => s.serialize_u128(value),
        }
    }
}

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Self::Refused => return Err(S::Error::custom("refused")),
            Self::KeyWithoutValue | Self::TwoKeys | Self::ValueWithoutKey => {
                s.serialize_map(None)?
            }
        };
        match self {
            Self::ValueWithoutKey => map.serialize_value("value")?,
            Self::KeyWithoutValue | Self::Refused => map.serialize_key("key")?,
            Self::TwoKeys => {
                map.serialize_key("key")?;
                map.serialize_key("key")?;
            }
        }
        map.end()
    }
}
