//! From the bytes of a picture to the row of numbers that a model reads.

use fireclay_model::{
    Channels, Description, Ink, PictureShape, Pictures, Placement, Preprocessing,
};

use crate::PictureError;
use crate::decode::decode;
use crate::digit::{self, Target};
use crate::grey::Grey;
use crate::pixels::Picture;

/// The side above which pictures are made smaller before anything else, in pixels.
const USUAL_SIDE: usize = 2000;

/// The conversion of pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Fit {
    /// Like the training pictures, as recorded in the model or given by --ink and --placement.
    #[default]
    Auto,
    /// Crop the ink, scale it to 20x20 and centre it by mass, as MNIST.
    Mnist,
    /// Resize only.
    Resize,
    /// Resize, and invert a picture with a bright background.
    Invert,
}

/// How pictures are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The conversion.
    pub fit: Fit,
    /// The ink of the training pictures, if the model does not say.
    pub ink: Option<Ink>,
    /// The placement of the ink, if the model does not say.
    pub placement: Option<Placement>,
}

/// A row of a model's input that was made of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The raw features, `[features]`, as the model takes them.
    pub features: Vec<f32>,
    /// What was done to the picture, in order.
    pub done: Vec<String>,
}

/// Makes a row of a picture file.
///
/// # Errors
///
/// A [`PictureError`]: bytes that are no whole picture or would take too much memory, a picture without
/// a character where the model takes one, or a model that does not read pictures.
pub fn row(bytes: Vec<u8>, model: &Description, options: Options) -> Result<Row, PictureError> {
    let shape = &model.architecture.input_shape;
    let form =
        PictureShape::of(shape).ok_or_else(|| PictureError::NoPicture { shape: shape.clone() })?;
    let look = look(model, form, options)?;
    let picture = decode(&bytes, USUAL_SIDE.max(form.width).max(form.height))?;
    drop(bytes);
    let mut row = fitted(picture, form, look)?;
    if *model.input.preprocessing() == Preprocessing::None && look.has_all_levels() {
        row.done.push("given as 0 to 255, for the model has no preprocessing".to_owned());
    }
    Ok(row)
}

/// What a picture has to look like: as the options say, else as the model does, else as is known of the
/// data that it was trained on.
fn look(
    model: &Description,
    form: PictureShape,
    options: Options,
) -> Result<Pictures, PictureError> {
    if form.channels != Channels::Grey {
        return match flag_of_grey(options) {
            Some(flag) => Err(PictureError::Coloured { flag }),
            None => Ok(Pictures { ink: Ink::Mixed, placement: Placement::AsIs, ..Pictures::MNIST }),
        };
    }
    let shape = &model.architecture.input_shape;
    let record = model.input.pictures().or_else(|| published(model));
    let (ink, placement) = match said(options, record) {
        (Some(ink), Some(placement)) => (ink, placement),
        (None, None) => {
            let missing = "--ink bright-on-dark or dark-on-bright and --placement mnist or as-is";
            return Err(PictureError::Unsaid { missing });
        }
        (None, Some(_)) => {
            let missing = "--ink bright-on-dark or dark-on-bright";
            return Err(PictureError::Unsaid { missing });
        }
        (Some(_), None) => {
            return Err(PictureError::Unsaid { missing: "--placement mnist or as-is" });
        }
    };
    let look = Pictures { ink, placement, ..record.unwrap_or(Pictures::MNIST) };
    look.validate(shape)?;
    Ok(look)
}

/// The flag of an option that says something of grey pictures alone.
fn flag_of_grey(Options { fit, ink, placement }: Options) -> Option<&'static str> {
    match fit {
        _ if ink.is_some() => Some("--ink"),
        _ if placement.is_some() => Some("--placement"),
        Fit::Mnist => Some("--fit mnist"),
        Fit::Invert => Some("--fit invert"),
        Fit::Auto | Fit::Resize => None,
    }
}

/// What is known of the pictures that a model was trained on, by the name of its data; a model of an
/// older version does not record it.
fn published(model: &Description) -> Option<Pictures> {
    let pictures = Pictures::of_published(model.provenance.data.as_ref()?)?;
    pictures.validate(&model.architecture.input_shape).is_ok().then_some(pictures)
}

/// Ink and placement, as far as the options or the record of the model say them.
fn said(options: Options, record: Option<Pictures>) -> (Option<Ink>, Option<Placement>) {
    let Options { fit, ink, placement } = options;
    match fit {
        Fit::Mnist => {
            let ink = record.map(|record| record.ink).filter(|ink| *ink != Ink::Mixed);
            (Some(ink.unwrap_or(Ink::BrightOnDark)), Some(Placement::MNIST))
        }
        Fit::Resize => (Some(Ink::Mixed), Some(Placement::AsIs)),
        Fit::Invert => (Some(Ink::BrightOnDark), Some(Placement::AsIs)),
        Fit::Auto => (
            ink.or(record.map(|record| record.ink)),
            placement.or(record.map(|record| record.placement)),
        ),
    }
}

/// The row of a picture that looks as the training pictures did.
fn fitted(picture: Picture, form: PictureShape, look: Pictures) -> Result<Row, PictureError> {
    if form.channels != Channels::Grey {
        return Ok(coloured(picture, form));
    }
    let is_cut_out = matches!(look.placement, Placement::Centred { .. });
    let (values, colour) =
        if is_cut_out { picture.standing_out() } else { (picture.brightness(), None) };
    let Picture { width, height, mut done, .. } = picture;
    done.extend(colour.map(|name| format!("read by its {name}, in which the ink stands out most")));
    let values = values.into_iter().map(f32::from).collect();
    let mut grey = Grey { width, height, values };
    if !look.has_all_levels() {
        grey = stretched(grey, look);
        let Pictures { darkest, brightest, .. } = look;
        done.push(format!("given as {darkest} to {brightest}, as the data has it"));
    }
    let grey = match look.placement {
        Placement::AsIs => as_is(&grey, form, look.ink, &mut done),
        Placement::Centred { side, by } => {
            let (width, height) = (form.width, form.height);
            let target = Target { width, height, side: side as usize, by };
            placed(&grey, target, look.ink, &mut done)?
        }
    };
    let features = grey.values.iter().map(|&value| whole(scaled(value, look))).collect();
    Ok(Row { features, done })
}

/// A picture with the numbers of the data as they are shows less contrast than it stands for: from 0 to
/// 255, if all of it lies between those numbers or their inverse.
fn stretched(grey: Grey, look: Pictures) -> Grey {
    let [least, most] = [look.darkest, look.brightest].map(f32::from);
    if is_within(&grey, least, most) {
        grey.map(|value| (value - least) * 255.0 / (most - least))
    } else if is_within(&grey, 255.0 - most, 255.0 - least) {
        grey.map(|value| 255.0 - (255.0 - value - least) * 255.0 / (most - least))
    } else {
        grey
    }
}

/// Brightness from 0 to 255 in the numbers of the data.
fn scaled(value: f32, look: Pictures) -> f32 {
    let [least, most] = [look.darkest, look.brightest].map(f32::from);
    if look.has_all_levels() { value } else { least + value * (most - least) / 255.0 }
}

/// What is nearly a whole number as that number: whole numbers stay what they are.
fn whole(value: f32) -> f32 {
    if (value - value.round()).abs() < 1e-3 { value.round() } else { value }
}

/// Whether all of a picture lies between two numbers.
fn is_within(grey: &Grey, least: f32, most: f32) -> bool {
    grey.values.iter().all(|value| (least..=most).contains(value))
}

/// In the size of the model, and inverted if its background is not that of the training pictures.
fn as_is(grey: &Grey, form: PictureShape, ink: Ink, done: &mut Vec<String>) -> Grey {
    let is_inverted = is_inverted(grey, ink);
    if is_inverted {
        done.push(inverted(ink).to_owned());
    }
    if (grey.width, grey.height) != (form.width, form.height) {
        done.push(format!("resized from {}x{}", grey.width, grey.height));
    }
    let grey = grey.resized(form.width, form.height);
    if is_inverted { grey.map(|value| 255.0 - value) } else { grey }
}

/// With its ink where that of the training pictures is. A picture of the model's size whose ink is
/// there already is only inverted, if anything.
fn placed(
    grey: &Grey,
    target: Target,
    ink: Ink,
    done: &mut Vec<String>,
) -> Result<Grey, PictureError> {
    let is_of_size = (grey.width, grey.height) == (target.width, target.height);
    let is_dark = ink == Ink::DarkOnBright;
    if is_of_size {
        let is_inverted = is_inverted(grey, ink);
        let upright = if is_inverted { grey.map(|value| 255.0 - value) } else { grey.clone() };
        let bright = if is_dark { upright.map(|value| 255.0 - value) } else { upright.clone() };
        if let Some(moved) = digit::moved(&bright, target) {
            if is_inverted {
                done.push(inverted(ink).to_owned());
            }
            if moved == bright {
                return Ok(upright);
            }
            done.push("moved to the centre".to_owned());
            return Ok(if is_dark { moved.map(|value| 255.0 - value) } else { moved });
        }
    }
    let found = digit::digit(grey, target, ink)?;
    done.extend(found.done);
    Ok(if is_dark { found.picture.map(|value| 255.0 - value) } else { found.picture })
}

/// Whether the background of a picture is the other one.
fn is_inverted(grey: &Grey, ink: Ink) -> bool {
    match ink {
        Ink::BrightOnDark => is_bright(grey),
        Ink::DarkOnBright => !is_bright(grey),
        Ink::Mixed => false,
    }
}

/// Why a picture was inverted, for models of this ink.
pub(crate) fn inverted(ink: Ink) -> &'static str {
    match ink {
        Ink::DarkOnBright => "inverted, for it was bright on dark",
        _ => "inverted, for it was dark on bright",
    }
}

/// Each colour in the size of the model.
fn coloured(picture: Picture, form: PictureShape) -> Row {
    let Picture { width, height, pixels, mut done } = picture;
    if (width, height) != (form.width, form.height) {
        done.push(format!("resized from {width}x{height}"));
    }
    let colours = [0, 1, 2].map(|colour| {
        let values = pixels.iter().map(|pixel| f32::from(pixel[colour])).collect();
        Grey { width, height, values }.resized(form.width, form.height).values
    });
    let features = match form.channels {
        Channels::Together => {
            let [r, g, b] = colours;
            r.into_iter().zip(g).zip(b).flat_map(|((r, g), b)| [r, g, b]).collect()
        }
        _ => colours.concat(),
    };
    Row { features, done }
}

/// Whether the outermost pixels are bright, by their median.
fn is_bright(grey: &Grey) -> bool {
    let bright = grey.edge().filter(|value| *value > 127.0).count();
    bright * 2 > grey.edge().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Picture {
        let values = (0..width * height).map(|i| value(i % width, i / width)).collect();
        let pixels: Vec<u8> = values;
        let pixels = pixels.into_iter().map(|grey| [grey; 3]).collect();
        Picture { width, height, pixels, done: Vec::new() }
    }

    const MNIST: PictureShape = PictureShape { width: 28, height: 28, channels: Channels::Grey };

    #[test]
    fn a_picture_that_looks_like_the_training_pictures_stays_what_it_is() {
        let value = |x: usize, y: usize| match (x, y) {
            (12..17, 4..24) => 20 + ((x * y) % 236) as u8,
            _ => 0,
        };
        let plain: Vec<f32> = (0..784).map(|i| f32::from(value(i % 28, i / 28))).collect();
        let inverse: Vec<f32> = plain.iter().map(|value| 255.0 - value).collect();
        let paper = Pictures { ink: Ink::DarkOnBright, ..Pictures::MNIST };
        for (look, expected) in [(Pictures::MNIST, &plain), (paper, &inverse)] {
            for placement in [look.placement, Placement::AsIs] {
                let look = Pictures { placement, ..look };
                let dark = fitted(grey(28, 28, value), MNIST, look).unwrap();
                let bright = fitted(grey(28, 28, |x, y| 255 - value(x, y)), MNIST, look).unwrap();
                assert_eq!((&dark.features, &bright.features), (expected, expected));
                let is_dark = look.ink == Ink::BrightOnDark;
                let [same, other] = if is_dark { [&dark, &bright] } else { [&bright, &dark] };
                assert!(same.done.is_empty(), "{look}: {:?}", same.done);
                assert_eq!(other.done, [inverted(look.ink)], "{look}");
            }
        }
        let mixed = Pictures { ink: Ink::Mixed, placement: Placement::AsIs, ..Pictures::MNIST };
        assert_eq!(fitted(grey(28, 28, value), MNIST, mixed).unwrap().features, plain);
    }

    #[test]
    fn numbers_have_the_scale_of_the_data() {
        let look = Pictures { placement: Placement::AsIs, brightest: 16, ..Pictures::MNIST };
        let form = PictureShape { width: 8, height: 8, channels: Channels::Grey };
        let value = |x: usize, y: usize| if x == 0 { 0 } else { (x * y % 17) as u8 };
        let raw: Vec<f32> = (0..64).map(|i| f32::from(value(i % 8, i / 8))).collect();
        assert_eq!(fitted(grey(8, 8, value), form, look).unwrap().features, raw);
        let bright = |x: usize, y: usize| (u32::from(value(x, y)) * 255 / 16) as u8;
        let found = fitted(grey(8, 8, bright), form, look).unwrap().features;
        assert!(found.iter().zip(&raw).all(|(a, b)| (a - b).abs() < 0.07), "{found:?}");
        let ones = Pictures { brightest: 1, ..look };
        let found = fitted(grey(8, 8, |x, _| 255 * u8::from(x % 3 == 1)), form, ones).unwrap();
        assert!(
            found
                .features
                .iter()
                .enumerate()
                .all(|(i, v)| *v == f32::from(u8::from(i % 8 % 3 == 1)))
        );
    }

    #[test]
    fn a_row_of_grey_ink_stays_the_same_row() {
        let value = |x: usize, y: usize| match (x, y) {
            (12..17, 4..24) => 40 + ((x * y) % 141) as u8,
            _ => 30,
        };
        let row: Vec<f32> = (0..784).map(|i| f32::from(value(i % 28, i / 28))).collect();
        let look = Pictures { darkest: 30, brightest: 180, ..Pictures::MNIST };
        for placement in [look.placement, Placement::AsIs] {
            let look = Pictures { placement, ..look };
            assert_eq!(fitted(grey(28, 28, value), MNIST, look).unwrap().features, row, "{look}");
            let inverse = fitted(grey(28, 28, |x, y| 255 - value(x, y)), MNIST, look).unwrap();
            assert_eq!(inverse.features, row, "{look}");
        }
        // Black on white has the numbers of the data as well.
        let page = |x: usize, y: usize| {
            if (90..110).contains(&x) && (60..140).contains(&y) { 0 } else { 255 }
        };
        let found = fitted(grey(200, 200, page), MNIST, look).unwrap().features;
        assert_eq!(found.iter().copied().fold(255.0, f32::min), 30.0);
        assert_eq!(found.iter().copied().fold(0.0, f32::max), 180.0);
    }

    #[test]
    fn ink_is_centred_by_mass_whatever_its_place_size_and_polarity() {
        let bar = |x: usize, y: usize, [left, top]: [usize; 2], size: usize| {
            (left..left + size).contains(&x) && (top..top + 4 * size).contains(&y)
        };
        for (width, height, place, size) in
            [(200, 300, [20, 60], 30), (90, 120, [60, 10], 20), (700, 1400, [300, 300], 100)]
        {
            for [ink, paper] in [[0, 255], [255, 0], [40, 180]] {
                let value = |x, y| if bar(x, y, place, size) { ink } else { paper };
                let row = fitted(grey(width, height, value), MNIST, Pictures::MNIST).unwrap();
                // 5 wide and 20 high, in the middle.
                let lit: Vec<usize> = (0..784).filter(|&i| row.features[i] > 127.0).collect();
                let (left, right) =
                    (lit.iter().map(|i| i % 28).min(), lit.iter().map(|i| i % 28).max());
                assert_eq!(
                    (lit.first().unwrap() / 28, lit.last().unwrap() / 28),
                    (4, 23),
                    "{width}"
                );
                assert_eq!(right.unwrap() - left.unwrap(), 4, "{width} {:?}", row.done);
                assert_eq!(left.unwrap(), 12, "{width}");
                let said = row.done.iter().any(|done| done.starts_with("inverted"));
                assert_eq!(said, ink < paper);
            }
        }
    }

    #[test]
    fn a_blank_picture_is_refused() {
        for level in [0, 128, 255] {
            let found = fitted(grey(90, 60, |_, _| level), MNIST, Pictures::MNIST);
            assert!(matches!(found, Err(PictureError::Blank)), "{level}");
        }
        let gradient = fitted(grey(90, 60, |x, _| 100 + x as u8), MNIST, Pictures::MNIST);
        assert!(matches!(gradient, Err(PictureError::Blank)));
    }

    #[test]
    fn colours_lie_as_the_model_has_them() {
        let pixels = vec![[1, 2, 3], [4, 5, 6]];
        let picture = Picture { width: 2, height: 1, pixels, done: Vec::new() };
        let form = |channels| PictureShape { width: 2, height: 1, channels };
        let row =
            |channels| fitted(picture.clone(), form(channels), Pictures::MNIST).unwrap().features;
        assert_eq!(row(Channels::Together), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(row(Channels::Apart), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
