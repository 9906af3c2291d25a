//! From the bytes of a picture to the row of numbers that a model reads.

use fireclay::{Model, Preprocessing};

use super::decode::{PictureError, Pixels, decode, luma};
use super::digit::{self, digit};
use super::grey::Grey;
use crate::output::sizes;

/// How a picture is made to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fit {
    /// `mnist` for models of 28x28 that were not trained on clothing, `resize` for all others; a
    /// picture that has the model's size already is only inverted if it is dark on bright.
    #[default]
    Auto,
    /// Cut the ink out, scale it to 20x20 and centre it by mass in 28x28, as MNIST was made.
    Mnist,
    /// Make it larger or smaller, and nothing else.
    Resize,
    /// As resize, and invert it if its background is bright.
    Invert,
}

/// A row of a model's input that was made of a picture.
pub(crate) struct Row {
    pub(crate) features: Vec<f32>,
    /// What was done to the picture, in order.
    pub(crate) done: Vec<String>,
}

/// What a model sees of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    width: usize,
    height: usize,
    channels: Channels,
}

/// Where the colours of a pixel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channels {
    /// There are none.
    Grey,
    /// Together: `[height, width, 3]`.
    Together,
    /// One picture for each: `[3, height, width]`.
    Apart,
}

/// Makes a row of a picture file.
pub(crate) fn row(bytes: &[u8], model: &Model, fit: Fit) -> Result<Row, PictureError> {
    let shape = &model.mlp.config().input_shape;
    let form = form(shape).ok_or_else(|| PictureError::NoPicture { shape: sizes(shape) })?;
    let pixels = decode(bytes)?;
    let mut row = fitted(&pixels, form, fit, is_of_clothing(model))?;
    if model.preprocessing == Preprocessing::None {
        row.done.push("given as 0 to 255, for the model has no preprocessing".to_owned());
    }
    Ok(row)
}

fn is_of_clothing(model: &Model) -> bool {
    model.provenance.data.as_deref() == Some("fashion-mnist")
}

/// The picture that a shape stands for; a flat row of a square number is a square.
fn form(shape: &[usize]) -> Option<Form> {
    let (height, width, channels) = match *shape {
        [height, width] | [height, width, 1] | [1, height, width] => {
            (height, width, Channels::Grey)
        }
        [height, width, 3] => (height, width, Channels::Together),
        [3, height, width] => (height, width, Channels::Apart),
        [all] if all.isqrt().pow(2) == all => (all.isqrt(), all.isqrt(), Channels::Grey),
        _ => return None,
    };
    (width > 1 && height > 1).then_some(Form { width, height, channels })
}

fn fitted(pixels: &Pixels, form: Form, fit: Fit, is_clothing: bool) -> Result<Row, PictureError> {
    let rgb = pixels.rgb();
    let (width, height) = (pixels.width, pixels.height);
    let plane = |of: &dyn Fn([u8; 3]) -> u8| Grey {
        width,
        height,
        values: rgb.iter().map(|&pixel| f32::from(of(pixel))).collect(),
    };
    let is_same_size = (width, height) == (form.width, form.height);
    let is_mnist =
        form == Form { width: digit::SIDE, height: digit::SIDE, channels: Channels::Grey };
    if fit == Fit::Mnist && !is_mnist {
        let shape = format!("{}x{}", form.height, form.width);
        return Err(PictureError::NoPicture {
            shape: format!("{shape}, and not of 28x28, for --fit mnist"),
        });
    }
    if fit == Fit::Mnist || (fit == Fit::Auto && is_mnist && !is_clothing && !is_same_size) {
        let found = digit(&plane(&luma))?;
        return Ok(Row { features: found.picture.values, done: found.done });
    }
    let mut done = Vec::new();
    let inverts = fit != Fit::Resize && is_bright(&plane(&luma)) && form.channels == Channels::Grey;
    if inverts && (fit == Fit::Invert || is_mnist) {
        done.push("inverted, for its background is bright".to_owned());
    }
    if !is_same_size {
        done.push(format!("resized from {width}x{height}"));
    }
    let is_inverted = inverts && (fit == Fit::Invert || is_mnist);
    let sized = |plane: Grey| {
        let plane = plane.resized(form.width, form.height);
        if is_inverted { plane.map(|value| 255.0 - value) } else { plane }.values
    };
    let colours = || [0, 1, 2].map(|c| sized(plane(&move |pixel: [u8; 3]| pixel[c])));
    let features = match form.channels {
        Channels::Grey => sized(plane(&luma)),
        Channels::Apart => colours().concat(),
        Channels::Together => {
            let [r, g, b] = colours();
            r.into_iter().zip(g).zip(b).flat_map(|((r, g), b)| [r, g, b]).collect()
        }
    };
    Ok(Row { features, done })
}

/// Whether the outermost pixels are bright, by their median.
fn is_bright(grey: &Grey) -> bool {
    let (width, height) = (grey.width, grey.height);
    let is_frame = |&i: &usize| {
        i % width == 0 || i % width + 1 == width || i / width == 0 || i / width + 1 == height
    };
    let frame: Vec<usize> = (0..grey.values.len()).filter(is_frame).collect();
    let bright = frame.iter().filter(|&&i| grey.values[i] > 127.0).count();
    bright * 2 > frame.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Pixels {
        let values = (0..width * height).map(|i| value(i % width, i / width)).collect();
        Pixels { width, height, channels: 1, values }
    }

    const MNIST: Form = Form { width: 28, height: 28, channels: Channels::Grey };

    #[test]
    fn shapes_that_are_pictures() {
        let grey = |width, height| Some(Form { width, height, channels: Channels::Grey });
        assert_eq!(form(&[28, 28]), Some(MNIST));
        assert_eq!(form(&[784]), Some(MNIST));
        assert_eq!(form(&[1, 5, 4]), grey(4, 5));
        assert_eq!(form(&[5, 4, 1]), grey(4, 5));
        assert_eq!(form(&[3, 5, 4]).map(|f| f.channels), Some(Channels::Apart));
        assert_eq!(form(&[5, 4, 3]).map(|f| f.channels), Some(Channels::Together));
        assert_eq!(form(&[13]), None);
        assert_eq!(form(&[1]), None);
    }

    #[test]
    fn a_picture_of_the_models_size_is_left_alone_or_inverted() {
        let value = |x: usize, y: usize| if (9..19).contains(&x) { (x * y % 256) as u8 } else { 0 };
        let dark = fitted(&grey(28, 28, value), MNIST, Fit::Auto, false).unwrap();
        let bright =
            fitted(&grey(28, 28, |x, y| 255 - value(x, y)), MNIST, Fit::Auto, false).unwrap();
        assert_eq!(dark.features, bright.features);
        assert!(dark.done.is_empty());
        assert_eq!(bright.done, ["inverted, for its background is bright"]);
        let plain: Vec<f32> = (0..784).map(|i| f32::from(value(i % 28, i / 28))).collect();
        assert_eq!(dark.features, plain);
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
                let row = fitted(&grey(width, height, value), MNIST, Fit::Auto, false).unwrap();
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
            let found = fitted(&grey(90, 60, |_, _| level), MNIST, Fit::Auto, false);
            assert!(matches!(found, Err(PictureError::Blank)), "{level}");
        }
        let gradient = fitted(&grey(90, 60, |x, _| 100 + x as u8), MNIST, Fit::Auto, false);
        assert!(matches!(gradient, Err(PictureError::Blank)));
    }

    #[test]
    fn colours_lie_as_the_model_has_them() {
        let pixels = Pixels { width: 2, height: 1, channels: 3, values: vec![1, 2, 3, 4, 5, 6] };
        let form = |channels| Form { width: 2, height: 1, channels };
        let row = |channels| fitted(&pixels, form(channels), Fit::Auto, false).unwrap().features;
        assert_eq!(row(Channels::Together), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(row(Channels::Apart), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
