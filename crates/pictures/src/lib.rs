//! Picture files to the rows that a model reads.
//!
//! A picture is made to look like the training pictures, as the model records them: uneven light is
//! removed, frames and lines are left out, and the ink is scaled and placed.
//! A file may come from a stranger: its size is judged before anything is unpacked, and what a decoder
//! cannot read is a [`PictureError`].
//!
//! ```no_run
//! use fireclay_model::Predictor;
//! use fireclay_pictures::{Kind, Options, row};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let predictor = Predictor::load("runs/first/model.safetensors")?;
//! let bytes = std::fs::read("seven.png")?;
//! let kind = Kind::of(&bytes).ok_or("no picture")?;
//! let picture = row(kind.read(&bytes[..], None)?, predictor.description(), Options::default())?;
//! let prediction = predictor.predict(&[picture.features])?;
//! # drop(prediction);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here knows Burn, prints or logs.

mod blocks;
mod container;
mod decode;
mod digit;
mod error;
mod grey;
mod light;
mod marks;
mod pixels;
mod row;
mod scanlines;
mod sheet;

pub use blocks::blocks;
pub use container::Kind;
pub use decode::silence_decoders;
pub use error::PictureError;
pub use row::{Fit, Options, Row, row};
