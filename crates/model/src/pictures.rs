//! The appearance of the pictures that a model was trained on, so that others can be made like
//! them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UnknownName;
use crate::named_enum;

/// The common appearance of the training pictures; stored with the model, and used by whoever makes
/// a row of a picture.
///
/// ```
/// use fireclay_model::Pictures;
///
/// assert!(Pictures::MNIST.validate(&[28, 28]).is_ok());
/// assert!(Pictures::MNIST.validate(&[16, 16]).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pictures {
    /// Which is brighter, what is drawn or what it is drawn on.
    pub ink: Ink,
    /// Where in the picture it lies, and how large it is.
    pub placement: Placement,
    /// The number that stands for black, below `brightest`: 0 for pixel bytes, more for grey paper or ink.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub darkest: u8,
    /// The number that stands for full brightness: 255 for pixel bytes, 1 for black and white.
    #[serde(default = "byte", skip_serializing_if = "is_byte")]
    pub brightest: u8,
}

named_enum! {
    /// Which is brighter, what is drawn or what it is drawn on.
    pub enum Ink as "ink" {
        /// White on black, as MNIST is.
        BrightOnDark = "bright-on-dark",
        /// Black on white, as paper is.
        DarkOnBright = "dark-on-bright",
        /// Neither for all pictures, such as photographs.
        Mixed = "mixed",
    }
}

/// Where in a picture lies what is drawn, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Placement {
    /// Anywhere, and of any size.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    AsIs,
    /// Its longer side is always the same, and so is its centre.
    Centred {
        /// The longer side, in pixels.
        side: u32,
        /// The point that lies in the centre of the picture.
        by: Centre,
    },
}

/// The centre of what is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Centre {
    /// Its centre of mass.
    Mass,
    /// The centre of the box around it.
    Box,
}

/// The sides of a picture that a row of features stands for, in pixels, and where its colours lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureShape {
    /// Pixels of a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Where the colours of a pixel lie.
    pub channels: Channels,
}

/// Where the colours of a pixel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// There are none.
    Grey,
    /// Together: `[height, width, 3]`.
    Together,
    /// One picture for each: `[3, height, width]`.
    Apart,
}

/// Why a description of pictures cannot be that of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PicturesError {
    /// The rows of the model are no grey pictures.
    #[error(
        "rows of shape {shape:?} are not grey pictures, so they have neither ink nor placement"
    )]
    NoPictures {
        /// The shape of a row.
        shape: Vec<usize>,
    },
    /// The drawing does not fit into the picture.
    #[error("ink of {side} pixels does not fit pictures of {width}x{height}")]
    Side {
        /// The longer side of what is drawn.
        side: u32,
        /// Width of the picture.
        width: usize,
        /// Height of the picture.
        height: usize,
    },
    /// Nothing is brighter than black.
    #[error("the brightest pixel, {brightest}, is not above the darkest, {darkest}")]
    Levels {
        /// The number of black.
        darkest: u8,
        /// The number of full brightness.
        brightest: u8,
    },
}

fn byte() -> u8 {
    u8::MAX
}

fn is_zero(darkest: &u8) -> bool {
    *darkest == 0
}

fn is_byte(brightest: &u8) -> bool {
    *brightest == byte()
}

impl Pictures {
    /// Those of MNIST: bright ink, its longer side 20 pixels, its centre of mass in the middle.
    pub const MNIST: Self =
        Self { ink: Ink::BrightOnDark, placement: Placement::MNIST, darkest: 0, brightest: 255 };

    /// The pictures of a published data set by its name, such as `fashion-mnist`; none for other
    /// names.
    pub fn of_published(name: &str) -> Option<Self> {
        let placement = match name {
            "mnist" | "qmnist" => Placement::MNIST,
            "emnist-balanced" | "emnist-letters" | "emnist-digits" | "emnist-byclass"
            | "emnist-bymerge" | "emnist-mnist" => Placement::EMNIST,
            "fashion-mnist" | "kmnist" => Placement::AsIs,
            _ => return None,
        };
        Some(Self { placement, ..Self::MNIST })
    }

    /// Returns true if black is 0 and full brightness 255, as in a picture file.
    pub fn has_all_levels(&self) -> bool {
        is_zero(&self.darkest) && is_byte(&self.brightest)
    }

    /// Checks that rows of this shape can be such pictures.
    ///
    /// # Errors
    ///
    /// A [`PicturesError`].
    pub fn validate(&self, shape: &[usize]) -> Result<(), PicturesError> {
        let Some(PictureShape { width, height, channels: Channels::Grey }) =
            PictureShape::of(shape)
        else {
            return Err(PicturesError::NoPictures { shape: shape.to_vec() });
        };
        let Self { darkest, brightest, .. } = *self;
        if darkest >= brightest {
            return Err(PicturesError::Levels { darkest, brightest });
        }
        match self.placement {
            Placement::Centred { side, .. } if side == 0 || side as usize > width.min(height) => {
                Err(PicturesError::Side { side, width, height })
            }
            _ => Ok(()),
        }
    }
}

impl Placement {
    /// As MNIST was made: scaled to fit a box of 20x20, and the centre of mass in the centre.
    pub const MNIST: Self = Self::Centred { side: 20, by: Centre::Mass };
    /// As EMNIST was made: scaled to fit a box of 24x24, and the box in the centre.
    pub const EMNIST: Self = Self::Centred { side: 24, by: Centre::Box };
}

impl PictureShape {
    /// The picture that a shape of features stands for; a flat row of a square number is a square.
    /// None if it stands for no picture, or for one of a single line.
    pub fn of(shape: &[usize]) -> Option<Self> {
        let (height, width, channels) = match *shape {
            [height, width] | [height, width, 1] | [1, height, width] => {
                (height, width, Channels::Grey)
            }
            [height, width, 3] => (height, width, Channels::Together),
            [3, height, width] => (height, width, Channels::Apart),
            [all] if all.isqrt().checked_pow(2) == Some(all) => {
                (all.isqrt(), all.isqrt(), Channels::Grey)
            }
            _ => return None,
        };
        (width > 1 && height > 1).then_some(Self { width, height, channels })
    }
}

impl fmt::Display for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ink {}, placement {}", self.ink, self.placement)?;
        if self.has_all_levels() {
            return Ok(());
        }
        write!(f, ", from {} to {}", self.darkest, self.brightest)
    }
}

/// As flags have it.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsIs => f.write_str("as-is"),
            &Self::MNIST => f.write_str("mnist"),
            &Self::EMNIST => f.write_str("emnist"),
            Self::Centred { side, by: Centre::Mass } => write!(f, "mass:{side}"),
            Self::Centred { side, by: Centre::Box } => write!(f, "box:{side}"),
        }
    }
}

impl Placement {
    fn centred(by: Centre, side: &str) -> Option<Self> {
        let side = side.parse().ok().filter(|side| *side > 0)?;
        Some(Self::Centred { side, by })
    }
}

impl FromStr for Placement {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = match (text, text.split_once(':')) {
            ("as-is", _) => Some(Self::AsIs),
            ("mnist", _) => Some(Self::MNIST),
            ("emnist", _) => Some(Self::EMNIST),
            (_, Some(("mass", side))) => Self::centred(Centre::Mass, side),
            (_, Some(("box", side))) => Self::centred(Centre::Box, side),
            _ => None,
        };
        found.ok_or_else(|| {
            let choices = vec!["as-is", "mnist", "emnist", "mass:PIXELS", "box:PIXELS"];
            UnknownName::new("placement", text, choices)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_are_pictures() {
        let grey = |width, height| Some(PictureShape { width, height, channels: Channels::Grey });
        assert_eq!(PictureShape::of(&[28, 28]), grey(28, 28));
        assert_eq!(PictureShape::of(&[784]), grey(28, 28));
        assert_eq!(PictureShape::of(&[1, 5, 4]), grey(4, 5));
        assert_eq!(PictureShape::of(&[5, 4, 1]), grey(4, 5));
        assert_eq!(PictureShape::of(&[3, 5, 4]).map(|p| p.channels), Some(Channels::Apart));
        assert_eq!(PictureShape::of(&[5, 4, 3]).map(|p| p.channels), Some(Channels::Together));
        for none in [&[13][..], &[1], &[], &[2, 2, 2, 2], &[7, 1], &[usize::MAX]] {
            assert_eq!(PictureShape::of(none), None, "{none:?}");
        }
    }

    #[test]
    fn they_are_written_in_short() {
        let text = serde_json::to_string(&Pictures::MNIST).unwrap();
        assert_eq!(
            text,
            r#"{"ink":"bright-on-dark","placement":{"kind":"centred","side":20,"by":"mass"}}"#
        );
        assert_eq!(serde_json::from_str::<Pictures>(&text).unwrap(), Pictures::MNIST);
        let paper = Pictures {
            ink: Ink::DarkOnBright,
            placement: Placement::AsIs,
            darkest: 0,
            brightest: 1,
        };
        let text = serde_json::to_string(&paper).unwrap();
        assert_eq!(text, r#"{"ink":"dark-on-bright","placement":{"kind":"as-is"},"brightest":1}"#);
        assert_eq!(serde_json::from_str::<Pictures>(&text).unwrap(), paper);
        let grey = Pictures { darkest: 30, brightest: 180, ..paper };
        let text = serde_json::to_string(&grey).unwrap();
        assert!(text.ends_with(r#""darkest":30,"brightest":180}"#), "{text}");
        assert_eq!(serde_json::from_str::<Pictures>(&text).unwrap(), grey);
        assert_eq!(grey.to_string(), "ink dark-on-bright, placement as-is, from 30 to 180");
    }

    #[test]
    fn placements_are_read_as_they_are_written() {
        for text in ["as-is", "mnist", "emnist", "mass:24", "box:20"] {
            assert_eq!(text.parse::<Placement>().unwrap().to_string(), text);
        }
        assert_eq!("mass:20".parse(), Ok(Placement::MNIST));
        for bad in ["", "mass:", "box:0", "box:-3", "centred", "mnist:20"] {
            assert!(bad.parse::<Placement>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let of = |placement| Pictures { placement, ..Pictures::MNIST };
        let centred = |side| of(Placement::Centred { side, by: Centre::Box });
        assert!(centred(28).validate(&[784]).is_ok());
        for (pictures, shape) in [
            (centred(29), &[784][..]),
            (centred(0), &[784]),
            (centred(u32::MAX), &[30, 28]),
            (of(Placement::AsIs), &[13]),
            (of(Placement::AsIs), &[8, 8, 3]),
            (Pictures { brightest: 0, ..of(Placement::AsIs) }, &[28, 28]),
            (Pictures { darkest: 9, brightest: 9, ..of(Placement::AsIs) }, &[28, 28]),
        ] {
            assert!(pictures.validate(shape).is_err(), "{pictures:?} {shape:?}");
        }
    }
}
