//! From a picture of a character to one like those of MNIST.
//!
//! LeCun, Bottou, Bengio and Haffner (1998), section III.A: the character is scaled to fit a box of
//! 20x20 with its proportions kept, and its centre of mass is moved to the centre of 28x28. Ink is
//! bright on black.

use super::decode::PictureError;
use super::grey::Grey;
use super::light::Background;

/// Side of the box that the ink fills.
const BOX: usize = 20;
/// Side of the result.
pub(crate) const SIDE: usize = 28;
/// Longest side that ink is looked for in; larger pictures are made smaller first.
const WORKING_SIDE: usize = 600;
/// The least share of a mark's area, of the largest one's, that is not taken for a speck.
const SPECK: f32 = 0.03;
/// The least contrast of ink, of the most there can be.
const FAINTEST: f32 = 0.08;
/// Strokes thinner than this, in pixels of the box of 20 as [`stroke`] measures them, are thickened:
/// of 1,000 test images of MNIST, 97 % have wider ones.
const THINNEST: f32 = 1.5;
/// How wide they become: a quarter of those images have thinner ones.
const USUAL: f32 = 2.2;
/// Where the centre of mass comes to lie at least, in pixels from the edge, and less than a pixel
/// further on: whoever made MNIST moved by whole pixels, and rounded up. Of its first 20,000 training
/// images all but a few have it in [14, 15), each place as often as any other.
const MIDDLE: f32 = 14.0;

/// A character as MNIST has it, and what was done to make it.
pub(crate) struct Digit {
    /// 28x28, whole numbers from 0 to 255.
    pub(crate) picture: Grey,
    /// In the order in which it was done.
    pub(crate) done: Vec<String>,
}

/// Ink on a background that is 0: from 0 to 1.
struct Ink {
    values: Grey,
    is_inverted: bool,
    was_uneven: bool,
}

/// Finds the ink in a grey picture, 0 to 255, and puts it where MNIST has it.
pub(crate) fn digit(grey: &Grey) -> Result<Digit, PictureError> {
    let mut done = Vec::new();
    let longest = grey.width.max(grey.height);
    let working = match longest > WORKING_SIDE {
        true => {
            let side = |side: usize| (side * WORKING_SIDE / longest).max(1);
            grey.resized(side(grey.width), side(grey.height))
        }
        false => grey.clone(),
    };
    let Ink { values, is_inverted, was_uneven } = ink(&working)?;
    if was_uneven {
        done.push("uneven light evened out".to_owned());
    }
    if is_inverted {
        done.push("inverted, for it was dark on bright".to_owned());
    }
    let Marks { ink, specks, is_crowd } = marks(&values)?;
    if specks > 0 {
        done.push(match specks {
            1 => "1 speck left out".to_owned(),
            specks => format!("{specks} specks left out"),
        });
    }
    if is_crowd {
        done.push("there are several marks side by side, read as one".to_owned());
    }
    let bounds = bounds(&ink).ok_or(PictureError::Blank)?;
    let thin = ink.cropped(bounds);
    let bold = thickened(&thin);
    if bold.width > thin.width {
        done.push("thin strokes thickened".to_owned());
    }
    done.push(format!(
        "cropped to {}x{}, scaled to {BOX} and centred by mass",
        bounds[2] - bounds[0],
        bounds[3] - bounds[1]
    ));
    Ok(Digit { picture: centred(&bold), done })
}

/// Separates ink from its background: by how much light it takes away from bright paper, or adds to
/// a dark one.
fn ink(grey: &Grey) -> Result<Ink, PictureError> {
    let background = Background::of(grey);
    let paper = |i: usize| background.surface.value(i % grey.width, i / grey.width);
    let threshold = (4.0 * background.noise).max(10.0);
    let differences = || grey.values.iter().enumerate().map(|(i, value)| value - paper(i));
    let balance: f32 = differences().filter(|d| d.abs() > threshold).sum();
    if balance == 0.0 {
        return Err(PictureError::Blank);
    }
    let is_inverted = balance < 0.0;
    let contrast = |(i, value): (usize, &f32)| {
        let paper = paper(i);
        let (found, most) =
            if is_inverted { (paper - value, paper) } else { (value - paper, 255.0 - paper) };
        (found / most.max(32.0)).clamp(0.0, 1.0)
    };
    let contrast: Vec<f32> = grey.values.iter().enumerate().map(contrast).collect();
    let strong = strength(&contrast);
    if strong < FAINTEST {
        return Err(PictureError::Blank);
    }
    let brightness = (background.range[0] + background.range[1]) / 2.0;
    let most = if is_inverted { brightness } else { 255.0 - brightness };
    let noise = background.noise / most.max(32.0);
    let (low, high) = ((3.0 * noise).max(0.15 * strong).min(0.5 * strong), 0.8 * strong);
    let values = contrast.iter().map(|c| ((c - low) / (high - low)).clamp(0.0, 1.0)).collect();
    Ok(Ink { values: Grey { values, ..*grey }, is_inverted, was_uneven: background.is_uneven() })
}

/// The mean contrast of ink: of all above the threshold that separates two classes best (Otsu 1979).
fn strength(contrast: &[f32]) -> f32 {
    const BINS: usize = 256;
    let mut counts = [0.0_f64; BINS];
    contrast.iter().for_each(|c| counts[(c * (BINS - 1) as f32).round() as usize] += 1.0);
    let total: f64 = counts.iter().sum();
    let sum: f64 = counts.iter().enumerate().map(|(i, n)| i as f64 * n).sum();
    let (mut below, mut sum_below, mut best) = (0.0, 0.0, (0.0, 0.0));
    for (i, n) in counts.iter().enumerate() {
        below += n;
        sum_below += i as f64 * n;
        let above = total - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let mean_above = (sum - sum_below) / above;
        let between = below * above * (mean_above - sum_below / below).powi(2);
        if between > best.0 {
            best = (between, mean_above);
        }
    }
    (best.1 / (BINS - 1) as f64) as f32
}

struct Marks {
    ink: Grey,
    specks: usize,
    is_crowd: bool,
}

/// A mark: pixels of ink that touch each other.
struct Mark {
    pixels: Vec<usize>,
    left: usize,
    right: usize,
}

/// Ink without its specks.
fn marks(ink: &Grey) -> Result<Marks, PictureError> {
    let found = connected(ink);
    let largest = found.iter().map(|mark| mark.pixels.len()).max().ok_or(PictureError::Blank)?;
    let is_speck = |mark: &Mark| (mark.pixels.len() as f32) < SPECK * largest as f32;
    let (specks, kept): (Vec<_>, Vec<_>) = found.into_iter().partition(is_speck);
    // Strokes are soft at their edges: what is within two pixels of a mark belongs to it.
    let mut is_kept = vec![false; ink.values.len()];
    for &at in kept.iter().flat_map(|mark| &mark.pixels) {
        for near in around(ink, at, 2) {
            is_kept[near] = true;
        }
    }
    let values = ink.values.iter().zip(is_kept).map(|(&v, kept)| if kept { v } else { 0.0 });
    let ink = Grey { values: values.collect(), ..*ink };
    let mut large: Vec<&Mark> = kept.iter().filter(|m| m.pixels.len() * 4 >= largest).collect();
    large.sort_unstable_by_key(|mark| mark.left);
    let is_crowd = large.windows(2).any(|pair| pair[0].right < pair[1].left);
    Ok(Marks { ink, specks: specks.len(), is_crowd })
}

/// The pixels of the square of this radius around one.
fn around(grey: &Grey, at: usize, radius: usize) -> impl Iterator<Item = usize> + use<> {
    let (width, x, y) = (grey.width, at % grey.width, at / grey.width);
    let rows = y.saturating_sub(radius)..(y + radius + 1).min(grey.height);
    let columns = x.saturating_sub(radius)..(x + radius + 1).min(width);
    rows.flat_map(move |y| columns.clone().map(move |x| y * width + x))
}

fn connected(ink: &Grey) -> Vec<Mark> {
    let mut is_new: Vec<bool> = ink.values.iter().map(|value| *value >= 0.5).collect();
    let mut marks = Vec::new();
    for start in 0..is_new.len() {
        if !std::mem::take(&mut is_new[start]) {
            continue;
        }
        let mut mark = Mark { pixels: vec![start], left: ink.width, right: 0 };
        let mut next = 0;
        while let Some(&at) = mark.pixels.get(next) {
            next += 1;
            mark.left = mark.left.min(at % ink.width);
            mark.right = mark.right.max(at % ink.width);
            for near in around(ink, at, 1) {
                if std::mem::take(&mut is_new[near]) {
                    mark.pixels.push(near);
                }
            }
        }
        marks.push(mark);
    }
    marks
}

/// The box around all ink: left, top, right and bottom, the last two not in it.
fn bounds(ink: &Grey) -> Option<[usize; 4]> {
    let is_ink = |&i: &usize| ink.values[i] > 0.25;
    let places: Vec<usize> = (0..ink.values.len()).filter(is_ink).collect();
    let (top, bottom) = (places.first()? / ink.width, places.last()? / ink.width + 1);
    let left = places.iter().map(|at| at % ink.width).min()?;
    let right = places.iter().map(|at| at % ink.width).max()? + 1;
    Some([left, top, right, bottom])
}

/// How wide strokes are, in pixels: twice the area of the ink over the length of its edge.
fn stroke(ink: &Grey) -> f32 {
    let is_ink = |x: usize, y: usize| ink.at(x, y) >= 0.5;
    let is_edge = |x: usize, y: usize| {
        x == 0
            || y == 0
            || x + 1 == ink.width
            || y + 1 == ink.height
            || !(is_ink(x - 1, y) && is_ink(x + 1, y) && is_ink(x, y - 1) && is_ink(x, y + 1))
    };
    let places = || (0..ink.height).flat_map(|y| (0..ink.width).map(move |x| (x, y)));
    let area = places().filter(|&(x, y)| is_ink(x, y)).count();
    let edge = places().filter(|&(x, y)| is_ink(x, y) && is_edge(x, y)).count();
    2.0 * area as f32 / edge.max(1) as f32
}

/// Ink whose strokes are not thinner than those of MNIST.
fn thickened(ink: &Grey) -> Grey {
    let scale = ink.width.max(ink.height) as f32 / BOX as f32;
    let width = stroke(ink);
    let radius = ((USUAL * scale - width) / 2.0).round();
    if width >= THINNEST * scale || radius < 1.0 {
        return ink.clone();
    }
    let radius = radius as usize;
    let mut bold = Grey::black(ink.width + 2 * radius, ink.height + 2 * radius);
    let reach = radius as isize;
    let disc: Vec<(usize, usize)> = (-reach..=reach)
        .flat_map(|y| (-reach..=reach).map(move |x| (x, y)))
        .filter(|(x, y)| x * x + y * y <= reach * reach)
        .map(|(x, y)| ((x + reach) as usize, (y + reach) as usize))
        .collect();
    for y in 0..ink.height {
        for x in 0..ink.width {
            let value = ink.at(x, y);
            if value > 0.0 {
                for (dx, dy) in &disc {
                    let at = (y + dy) * bold.width + x + dx;
                    bold.values[at] = bold.values[at].max(value);
                }
            }
        }
    }
    bold
}

/// Scaled to the box of 20 and centred by mass in 28x28; the brightest pixel is 255.
fn centred(ink: &Grey) -> Grey {
    let longest = ink.width.max(ink.height);
    let side = |side: usize| ((side * BOX * 2 + longest) / (2 * longest)).max(1);
    let small = ink.resized(side(ink.width), side(ink.height));
    let mass: f32 = small.values.iter().sum();
    let weighted = |place: &dyn Fn(usize) -> usize| {
        let moment: f32 =
            small.values.iter().enumerate().map(|(i, v)| v * (place(i) as f32 + 0.5)).sum();
        if mass > 0.0 { moment / mass } else { BOX as f32 / 2.0 }
    };
    // Ink stays in the picture, however lopsided it is.
    // A thousandth less, so that what is symmetric is not moved by rounding.
    let offset = |centre: f32, side: usize| {
        ((MIDDLE - centre - 1e-3).ceil().max(0.0) as usize).min(SIDE - side)
    };
    let left = offset(weighted(&|i| i % small.width), small.width);
    let top = offset(weighted(&|i| i / small.width), small.height);
    let factor = 255.0 / small.largest().max(f32::MIN_POSITIVE);
    let mut picture = Grey::black(SIDE, SIDE);
    for (y, line) in small.values.chunks_exact(small.width).enumerate() {
        let start = (top + y) * SIDE + left;
        for (to, from) in picture.values[start..].iter_mut().zip(line) {
            *to = (from * factor).round().min(255.0);
        }
    }
    picture
}
