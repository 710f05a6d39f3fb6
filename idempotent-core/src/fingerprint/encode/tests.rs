use proptest::collection::vec;
use proptest::prelude::*;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::*;

/// A value of the kinds that differ, which is what can be read back; or in one of the `Form`s that
/// do not differ from them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Unit,
    None,
    Some(Box<Self>),
    Bool(bool),
    Negative(i128),
    NonNegative(u128),
    /// The bits of an `f64`.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    UnitVariant(&'static str),
    Variant(&'static str, Box<Self>),
    Form(Form),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    UnitStruct,
    NewtypeStruct(Box<Value>),
    I8(i8),
    I64(i64),
    U16(u16),
    U64(u64),
    /// The bits of an `f32`.
    F32(u32),
    Char(char),
    Tuple(Vec<Value>),
    TupleStruct(Vec<Value>),
    Struct(Vec<(&'static str, Value)>),
    TupleVariant(&'static str, Vec<Value>),
    StructVariant(&'static str, Vec<(&'static str, Value)>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unit => s.serialize_unit(),
            Self::None => s.serialize_none(),
            Self::Some(value) => s.serialize_some(value),
            Self::Bool(value) => s.serialize_bool(*value),
            Self::Negative(value) => s.serialize_i128(*value),
            Self::NonNegative(value) => s.serialize_u128(*value),
            Self::Float(bits) => s.serialize_f64(f64::from_bits(*bits)),
            Self::Text(value) => s.serialize_str(value),
            Self::Bytes(value) => s.serialize_bytes(value),
            Self::List(values) => {
                let mut list = s.serialize_seq(None)?;
                values
                    .iter()
                    .try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Self::Map(entries) => {
                let mut map = s.serialize_map(None)?;
                entries
                    .iter()
                    .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
            Self::UnitVariant(name) => s.serialize_unit_variant("E", 0, name),
            Self::Variant(name, value) => s.serialize_newtype_variant("E", 0, name, value),
            Self::Form(form) => form.serialize(s),
        }
    }
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::UnitStruct => s.serialize_unit_struct("S"),
            Self::NewtypeStruct(value) => s.serialize_newtype_struct("S", value),
            Self::I8(value) => s.serialize_i8(*value),
            Self::I64(value) => s.serialize_i64(*value),
            Self::U16(value) => s.serialize_u16(*value),
            Self::U64(value) => s.serialize_u64(*value),
            Self::F32(bits) => s.serialize_f32(f32::from_bits(*bits)),
            Self::Char(value) => s.serialize_char(*value),
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
            Self::Struct(fields) => {
                let mut map = s.serialize_struct("S", fields.len())?;
                fields
                    .iter()
                    .try_for_each(|(name, value)| map.serialize_field(name, value))?;
                map.end()
            }
            Self::TupleVariant(name, values) => {
                let mut list = s.serialize_tuple_variant("E", 1, name, values.len())?;
                values
                    .iter()
                    .try_for_each(|value| list.serialize_field(value))?;
                list.end()
            }
            Self::StructVariant(name, fields) => {
                let mut map = s.serialize_struct_variant("E", 1, name, fields.len())?;
                fields
                    .iter()
                    .try_for_each(|(name, value)| map.serialize_field(name, value))?;
                map.end()
            }
        }
    }
}

impl Value {
    /// Returns the one value that stands for all that are equal to this one.
    fn normal(self) -> Self {
        let boxed = |value: Box<Self>| Box::new(value.normal());
        let list = |values: Vec<Self>| Self::List(values.into_iter().map(Self::normal).collect());
        let fields = |fields: Vec<(&str, Self)>| {
            let entry = |(name, value): (&str, Self)| (Self::Text(name.to_owned()), value);
            Self::Map(fields.into_iter().map(entry).collect()).normal()
        };
        match self {
            Self::Some(value) => Self::Some(boxed(value)),
            Self::Float(bits) => Self::Float(match f64::from_bits(bits) {
                float if float.is_nan() => NAN_BITS,
                0.0 => 0,
                _ => bits,
            }),
            Self::List(values) => list(values),
            Self::Map(entries) => {
                let normal = |(key, value): (Self, Self)| (key.normal(), value.normal());
                let mut entries: Vec<_> = entries.into_iter().map(normal).collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                Self::Map(entries)
            }
            Self::Variant(name, value) => Self::Variant(name, boxed(value)),
            Self::Form(form) => match form {
                Form::UnitStruct => Self::Unit,
                Form::NewtypeStruct(value) => value.normal(),
                Form::I8(value) => Self::integer(value.into()),
                Form::I64(value) => Self::integer(value.into()),
                Form::U16(value) => Self::NonNegative(value.into()),
                Form::U64(value) => Self::NonNegative(value.into()),
                Form::F32(bits) => Self::Float(f64::from(f32::from_bits(bits)).to_bits()).normal(),
                Form::Char(value) => Self::Text(value.into()),
                Form::Tuple(values) | Form::TupleStruct(values) => list(values),
                Form::Struct(named) => fields(named),
                Form::TupleVariant(name, values) => Self::Variant(name, Box::new(list(values))),
                Form::StructVariant(name, named) => Self::Variant(name, Box::new(fields(named))),
            },
            plain => plain,
        }
    }

    fn integer(value: i128) -> Self {
        u128::try_from(value).map_or(Self::Negative(value), Self::NonNegative)
    }

    fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        self.serialize(&mut encoder).expect("a value");
        assert!(encoder.entries.is_empty());
        encoder.bytes
    }
}

/// Reads what the module documentation of the encoding describes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u128 {
        let byte = u128::from(self.take(1)[0]);
        if byte < 0x80 {
            byte
        } else {
            (byte & 0x7f) | (self.number() << 7)
        }
    }

    fn string(&mut self) -> Vec<u8> {
        let size = usize::try_from(self.number()).expect("a size");
        self.take(size).to_vec()
    }

    fn name(&mut self) -> &'static str {
        let Value::Text(name) = self.value() else {
            panic!("a name is a text")
        };
        NAMES
            .into_iter()
            .find(|known| *known == name)
            .expect("a name")
    }

    fn values(&mut self) -> Vec<Value> {
        let mut values = Vec::new();
        while self.0[0] != Tag::End as u8 {
            values.push(self.value());
        }
        self.take(1);
        values
    }

    fn value(&mut self) -> Value {
        const TAGS: [Tag; 17] = [
            Tag::End,
            Tag::Unit,
            Tag::None,
            Tag::Some,
            Tag::False,
            Tag::True,
            Tag::NonNegative,
            Tag::Negative,
            Tag::Float,
            Tag::Text,
            Tag::LongText,
            Tag::Bytes,
            Tag::LongBytes,
            Tag::List,
            Tag::Map,
            Tag::UnitVariant,
            Tag::Variant,
        ];
        match TAGS[usize::from(self.take(1)[0])] {
            Tag::Unit => Value::Unit,
            Tag::None => Value::None,
            Tag::Some => Value::Some(Box::new(self.value())),
            Tag::False => Value::Bool(false),
            Tag::True => Value::Bool(true),
            Tag::NonNegative => Value::NonNegative(self.number()),
            Tag::Negative => Value::Negative(!i128::try_from(self.number()).expect("an i128")),
            Tag::Float => Value::Float(u64::from_be_bytes(
                self.take(8).try_into().expect("8 bytes"),
            )),
            Tag::Text => Value::Text(String::from_utf8(self.string()).expect("UTF-8")),
            Tag::Bytes => Value::Bytes(self.string()),
            Tag::List => Value::List(self.values()),
            Tag::Map => {
                let mut values = self.values().into_iter();
                let entry = || Some((values.next()?, values.next().expect("a value for the key")));
                Value::Map(std::iter::from_fn(entry).collect())
            }
            Tag::UnitVariant => Value::UnitVariant(self.name()),
            Tag::Variant => Value::Variant(self.name(), Box::new(self.value())),
            Tag::End | Tag::LongText | Tag::LongBytes => panic!("not expected here"),
        }
    }
}

const NAMES: [&str; 4] = ["", "a", "b", "ab"];

fn name() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(NAMES.as_slice())
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Unit),
        Just(Value::None),
        Just(Value::Form(Form::UnitStruct)),
        any::<bool>().prop_map(Value::Bool),
        (i128::MIN..0).prop_map(Value::Negative),
        (-3_i128..0).prop_map(Value::Negative),
        any::<u128>().prop_map(Value::NonNegative),
        (0_u128..200).prop_map(Value::NonNegative),
        any::<i8>().prop_map(|value| Value::Form(Form::I8(value))),
        any::<i64>().prop_map(|value| Value::Form(Form::I64(value))),
        any::<u16>().prop_map(|value| Value::Form(Form::U16(value))),
        any::<u64>().prop_map(|value| Value::Form(Form::U64(value))),
        any::<u64>().prop_map(Value::Float),
        prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN, -f64::NAN, f64::INFINITY])
            .prop_map(|value| Value::Float(value.to_bits())),
        any::<u32>().prop_map(|bits| Value::Form(Form::F32(bits))),
        "[ab\u{0}\u{e9}]{0,3}".prop_map(Value::Text),
        name().prop_map(|text| Value::Text(text.to_owned())),
        any::<char>().prop_map(|value| Value::Form(Form::Char(value))),
        vec(0_u8..20, 0..4).prop_map(Value::Bytes),
        name().prop_map(Value::UnitVariant),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let list = vec(inner.clone(), 0..4);
        let fields = vec((name(), inner.clone()), 0..4);
        prop_oneof![
            boxed.clone().prop_map(Value::Some),
            list.clone().prop_map(Value::List),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
            (name(), boxed.clone()).prop_map(|(name, value)| Value::Variant(name, value)),
            boxed.prop_map(|value| Value::Form(Form::NewtypeStruct(value))),
            list.clone()
                .prop_map(|values| Value::Form(Form::Tuple(values))),
            list.clone()
                .prop_map(|values| Value::Form(Form::TupleStruct(values))),
            fields
                .clone()
                .prop_map(|fields| Value::Form(Form::Struct(fields))),
            (name(), list).prop_map(|(name, values)| Value::Form(Form::TupleVariant(name, values))),
            (name(), fields)
                .prop_map(|(name, fields)| Value::Form(Form::StructVariant(name, fields))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What can be read back cannot be the encoding of two values.
    #[test]
    fn values_can_be_read_back(value in value()) {
        let bytes = value.encode();
        prop_assert_eq!(bytes[0], VERSION);
        let mut reader = Reader(&bytes[1..]);
        // Sorts maps by their keys, not by the bytes of their keys.
        prop_assert_eq!(reader.value().normal(), value.normal());
        prop_assert!(reader.0.is_empty());
    }

    #[test]
    fn equal_values_have_equal_bytes(value in value()) {
        prop_assert_eq!(value.clone().normal().encode(), value.encode());
    }
}
