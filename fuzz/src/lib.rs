//! What the fuzz targets share.

pub mod expansion;
pub mod records;
pub mod shapes;
pub mod values;
