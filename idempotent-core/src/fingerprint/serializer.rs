//! What `serde` says about a value, in the words of the encoding.

use std::ops::Range;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::encode::{EncodeError, Encoder, Entries, Tag};

impl<'a> Serializer for &'a mut Encoder {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = MapEncoder<'a>;
    type SerializeStruct = MapEncoder<'a>;
    type SerializeStructVariant = MapEncoder<'a>;

    /// As in JSON. A `Uuid` then equals its text.
    fn is_human_readable(&self) -> bool {
        true
    }

    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.tag(if value { Tag::True } else { Tag::False });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.integer(value.into());
        Ok(())
    }

    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.integer(value.into());
        Ok(())
    }

    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.integer(value.into());
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.integer(value.into());
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.unsigned(value.into());
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.unsigned(value.into());
        Ok(())
    }

    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.unsigned(value.into());
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.unsigned(value.into());
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        self.unsigned(value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.float(value.into());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        self.float(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        self.string(Tag::Bytes, Tag::LongBytes, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.tag(Tag::None);
        Ok(())
    }

    fn serialize_some<T>(self, value: &T) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        self.tag(Tag::Some);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.tag(Tag::Unit);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.tag(Tag::UnitVariant);
        self.text(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T>(self, _name: &'static str, value: &T) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        self.tag(Tag::Variant);
        self.text(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, EncodeError> {
        self.tag(Tag::List);
        Ok(self)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self, EncodeError> {
        self.tag(Tag::List);
        Ok(self)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self, EncodeError> {
        self.tag(Tag::List);
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self, EncodeError> {
        self.tag(Tag::Variant);
        self.text(variant);
        self.tag(Tag::List);
        Ok(self)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<MapEncoder<'a>, EncodeError> {
        Ok(MapEncoder::new(self))
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<MapEncoder<'a>, EncodeError> {
        Ok(MapEncoder::new(self))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<MapEncoder<'a>, EncodeError> {
        self.tag(Tag::Variant);
        self.text(variant);
        Ok(MapEncoder::new(self))
    }
}

/// Lists of all kinds.
macro_rules! list {
    ($($list:ident::$add:ident),+) => {$(
        impl $list for &mut Encoder {
            type Ok = ();
            type Error = EncodeError;

            fn $add<T>(&mut self, value: &T) -> Result<(), EncodeError>
            where
                T: Serialize + ?Sized,
            {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.tag(Tag::End);
                Ok(())
            }
        }
    )+};
}

list!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// Writes a map or a struct.
pub(super) struct MapEncoder<'a> {
    encoder: &'a mut Encoder,
    entries: Entries,
    /// A key that has been written and has no value yet.
    key: Option<Range<usize>>,
}

impl<'a> MapEncoder<'a> {
    fn new(encoder: &'a mut Encoder) -> Self {
        let entries = encoder.begin_map();
        Self {
            encoder,
            entries,
            key: None,
        }
    }
}

impl SerializeMap for MapEncoder<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T>(&mut self, key: &T) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        if self.key.is_some() {
            return Err(EncodeError::custom(KEY_WITHOUT_VALUE));
        }
        self.key = Some(self.encoder.key(key)?);
        Ok(())
    }

    fn serialize_value<T>(&mut self, value: &T) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        let key = self
            .key
            .take()
            .ok_or_else(|| EncodeError::custom(VALUE_WITHOUT_KEY))?;
        self.encoder.entry(key, value)
    }

    fn end(self) -> Result<(), EncodeError> {
        if self.key.is_some() {
            return Err(EncodeError::custom(KEY_WITHOUT_VALUE));
        }
        self.encoder.end_map(self.entries);
        Ok(())
    }
}

/// Structs of all kinds.
macro_rules! fields {
    ($($fields:ident),+) => {$(
        impl $fields for MapEncoder<'_> {
            type Ok = ();
            type Error = EncodeError;

            fn serialize_field<T>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), EncodeError>
            where
                T: Serialize + ?Sized,
            {
                self.encoder.field(name, value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.encoder.end_map(self.entries);
                Ok(())
            }
        }
    )+};
}

fields!(SerializeStruct, SerializeStructVariant);

const KEY_WITHOUT_VALUE: &str = "a map has a key without a value";
const VALUE_WITHOUT_KEY: &str = "a map has a value without a key";
