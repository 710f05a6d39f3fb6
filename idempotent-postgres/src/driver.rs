//! The driver's side of [`value`](crate::value).

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::value::{Cell, Cells, OtherType, Value, cells};

impl Value<'_> {
    /// The type that the server is told.
    pub(crate) const fn sql_type(&self) -> Type {
        match self {
            Self::Blobs(_) => Type::BYTEA_ARRAY,
            Self::Bytes(_) => Type::BYTEA,
            Self::Flag(_) => Type::BOOL,
            Self::Number(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Blobs(blobs) => blobs.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
            Self::Flag(flag) => flag.to_sql(ty, out),
            Self::Number(number) => number.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Every parameter is prepared, or sent, with its own `sql_type`.
        true
    }

    to_sql_checked!();
}

cells!(Row);

fn cell<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Cell<T> {
    row.try_get(column).map_err(|_| OtherType)
}
