//! From a picture of a character to one like those of MNIST.
//!
//! LeCun, Bottou, Bengio and Haffner (1998), section III.A: the character is scaled to fit a box of
//! 20x20 with its proportions kept, and its centre of mass is moved to the centre of 28x28. Ink is
//! bright on black.

use fireclay_model::{Centre, Drawn, Ink as Polarity};

use crate::PictureError;
use crate::grey::Grey;
use crate::light::Background;
use crate::marks::{Marks, inner, marks, reaches_all_edges};
use crate::row::inverted;
use crate::sheet::sheet;

/// Longest side that ink is looked for in; larger pictures are made smaller first.
const WORKING_SIDE: usize = 600;
/// The least contrast of ink, of the most there can be.
const FAINTEST: f32 = 0.06;
/// The least contrast of ink, in deviations of the background's noise.
const LEAST_OF_NOISE: f32 = 2.5;
/// The share of the margin from which on it is not drawn, but shadow or table.
const MUCH_OF_THE_MARGIN: f32 = 0.04;
/// The least share of a picture that is ink.
const LEAST_OPPOSITE: f32 = 0.001;
/// The longest that the strokes of a character are, in longer sides of the box around it: for 2,800 digits
/// of 45 kinds at most 4, for photographs mostly more than 7, for noise 30.
const MOST_LENGTH: f32 = 7.0;
/// The widest that strokes are, as [`stroke`] measures them, in longer sides of the box around them: of
/// the boldest digits 0.44, of a disc 0.56 and of a square 0.5.
const WIDEST: f32 = 0.46;
/// Side of the box that the ink of MNIST fills.
const BOX: usize = 20;
/// Strokes thinner than this, in pixels of the box of 20 as [`stroke`] measures them, are thickened:
/// of 1,000 test images of MNIST, 97 % have wider ones.
const THINNEST: f32 = 1.5;
/// How wide they become: a quarter of those images have thinner ones.
const USUAL: f32 = 2.2;
/// The most brightness of a background that is none, of 255, and the least of ink.
const FAINT: f32 = 16.0;

/// Where the ink of a picture belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Of the picture.
    pub(crate) width: usize,
    /// Of the picture.
    pub(crate) height: usize,
    /// The longer side of the ink.
    pub(crate) side: usize,
    /// What lies in the centre.
    pub(crate) by: Centre,
}

/// A character where it belongs, and what was done to bring it there.
pub(crate) struct Digit {
    /// Bright ink on black, whole numbers from 0 to 255.
    pub(crate) picture: Grey,
    /// In the order in which it was done.
    pub(crate) done: Vec<String>,
}

/// Ink on a background that is 0: from 0 to 1.
struct Ink {
    values: Grey,
    is_inverted: bool,
    was_uneven: bool,
    /// The share of the picture that stands out in the other direction, as ink does in a shadow beside
    /// light.
    opposite: f32,
}

/// A picture of the target's size whose bright ink is as large as it belongs: as it is if it lies where
/// it belongs, and moved by whole pixels if not. Nothing if it has another size, or no black around it.
pub(crate) fn moved(grey: &Grey, target: Target) -> Option<Grey> {
    let (width, height) = (grey.width, grey.height);
    let mut edge: Vec<f32> = grey.edge().collect();
    let middle = edge.len() / 2;
    if *edge.select_nth_unstable_by(middle, f32::total_cmp).1 > FAINT {
        return None;
    }
    let ink = grey.values.iter().map(|&v| if v > FAINT { f64::from(v) } else { 0.0 });
    let drawn = Drawn::of(ink, width)?;
    if !drawn.is_of_side(target.side, [width, height]) {
        return None;
    }
    let off = drawn.off_centre(target.by, [width, height]);
    let [right, down] = off.map(|off| {
        if off.abs() <= Drawn::on_centre([width, height]) { 0 } else { -off.round() as isize }
    });
    let mut moved = Grey::black(width, height);
    for (at, value) in grey.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let (x, y) = ((at % width) as isize + right, (at / width) as isize + down);
        if x < 0 || y < 0 || x as usize >= width || y as usize >= height {
            // Ink would be pushed out of the picture.
            if *value > FAINT {
                return None;
            }
            continue;
        }
        moved.values[y as usize * width + x as usize] = *value;
    }
    Some(moved)
}

/// A character as it was found, and what was done to find it.
struct Character {
    /// Its ink, from 0 to 1.
    ink: Grey,
    /// The box around it, in the picture that it was found in.
    place: [usize; 4],
    is_inverted: bool,
    done: Vec<String>,
}

/// Finds the ink in a grey picture, 0 to 255, and puts it where it belongs; `polarity` is that of the
/// model, for the words that say what was done.
pub(crate) fn digit(
    grey: &Grey,
    target: Target,
    polarity: Polarity,
) -> Result<Digit, PictureError> {
    let longest = grey.width.max(grey.height);
    let is_large = longest > WORKING_SIDE;
    let mut found = if is_large {
        let [width, height] =
            [grey.width, grey.height].map(|side| (side * WORKING_SIDE / longest).max(1));
        character(&grey.resized(width, height))?
    } else {
        character(grey)?
    };
    if let Some(near) = near(found.place, grey).filter(|_| is_large) {
        // Small on a large sheet: once more, where it is, in all its pixels.
        if let Ok(mut finer) = character(&grey.cropped(near)) {
            finer.done.splice(0..0, found.done.into_iter().filter(|done| done != UNEVEN));
            found = finer;
        }
    }
    let Character { ink, place, is_inverted, mut done } = found;
    if is_inverted != (polarity == Polarity::DarkOnBright) {
        done.push(inverted(polarity).to_owned());
    }
    let bold = thickened(&ink);
    if bold.width > ink.width {
        done.push("thin strokes thickened".to_owned());
    }
    let by = match target.by {
        Centre::Mass => "by mass",
        Centre::Box => "by its box",
    };
    done.push(format!(
        "cropped to {}x{}, scaled to {} and centred {by}",
        place[2] - place[0],
        place[3] - place[1],
        target.side
    ));
    Ok(Digit { picture: centred(&bold, target), done })
}

const UNEVEN: &str = "uneven light evened out";

/// The surroundings of a small character in the whole picture, when it was found in a smaller one: as
/// much again on each side.
fn near(place: [usize; 4], grey: &Grey) -> Option<[usize; 4]> {
    let longest = grey.width.max(grey.height);
    let [left, top, right, bottom] = place;
    let side = (right - left).max(bottom - top);
    if side * 4 > WORKING_SIDE {
        return None;
    }
    let [left, top, right, bottom, margin] =
        [left, top, right, bottom, side.max(8)].map(|at| at * longest / WORKING_SIDE);
    Some([
        left.saturating_sub(margin),
        top.saturating_sub(margin),
        (right + margin).min(grey.width),
        (bottom + margin).min(grey.height),
    ])
}

/// Finds a character: on the sheet of paper that a picture shows, or else in all of it.
fn character(grey: &Grey) -> Result<Character, PictureError> {
    let plain = stands_out(grey, &Background::of(grey));
    let dark =
        plain.as_ref().ok().filter(|ink| ink.is_inverted).and_then(|ink| sheet(&ink.values, true));
    if let Some(place) = dark {
        // Darker ink in it would make it a shadow.
        let found = on_sheet(grey, place, true).filter(|character| !character.is_inverted);
        if let Some(mut character) = found {
            character.done.insert(0, "cut to the dark panel".to_owned());
            return Ok(character);
        }
    }
    let found = ink(grey, plain)?;
    // A bright sheet on a dark ground has what is drawn on it in it.
    let bright = if found.is_inverted { None } else { sheet(&found.values, false) };
    if let Some(mut character) = bright.and_then(|place| on_sheet(grey, place, false)) {
        character.done.insert(0, "cut to the paper".to_owned());
        return Ok(character);
    }
    drawn(found)
}

/// The character on a sheet, if there is one; a dark one has no shadows.
fn on_sheet(grey: &Grey, sheet: [usize; 4], is_dark: bool) -> Option<Character> {
    let grey = grey.cropped(sheet);
    let plain = stands_out(&grey, &Background::of(&grey));
    let found = if is_dark { plain } else { ink(&grey, plain) }.ok()?;
    // What reaches in is what the sheet lies on, where it lies askew.
    let mut character = drawn(Ink { values: inner(&found.values), ..found }).ok()?;
    let [left, top, right, bottom] = character.place;
    let [x, y, ..] = sheet;
    character.place = [left + x, top + y, right + x, bottom + y];
    Some(character)
}

/// The character that ink draws.
fn drawn(Ink { values, is_inverted, was_uneven, .. }: Ink) -> Result<Character, PictureError> {
    let mut done = Vec::new();
    if was_uneven {
        done.push(UNEVEN.to_owned());
    }
    let Marks { ink, done: left_out, is_crowd, is_cluttered } = marks(&values)?;
    done.extend(left_out);
    if is_cluttered {
        done.push("doubtful, for there is as much around it as in a photograph".to_owned());
    }
    if is_crowd {
        done.push("there are several marks beside each other, read as one".to_owned());
    }
    let place = bounds(&ink).ok_or(PictureError::Blank)?;
    let ink = ink.cropped(place);
    // A panel on which no character was found.
    if sheet(&ink, true).is_some() {
        return Err(PictureError::Tangle);
    }
    let longest = ink.width.max(ink.height) as f32;
    // Small noise has no room for more.
    let most_length = (longest / 8.0).clamp(3.0, MOST_LENGTH);
    if area(&ink) / stroke(&ink) > most_length * longest {
        return Err(PictureError::Tangle);
    }
    if stroke(&ink) > WIDEST * longest {
        done.push("doubtful, for it is a filled shape and has no strokes".to_owned());
    }
    Ok(Character { ink, place, is_inverted, done })
}

/// Separates ink from its background: by how much light it takes away from bright paper, or adds to
/// a dark one; `found` is what stands out from a smooth background.
fn ink(grey: &Grey, found: Result<Ink, PictureError>) -> Result<Ink, PictureError> {
    // One rarely draws there: a shadow, or a table that the paper lies on.
    let Ok(plain) = &found else { return found };
    if in_margin(plain) < MUCH_OF_THE_MARGIN || !is_shadowed(grey, plain) {
        return found;
    }
    // With a longer reach than is enough for the strokes more is left of the corners of shadows, with a
    // shorter one less of the ink.
    let side = grey.width.min(grey.height);
    let mut shorter: Option<Ink> = None;
    for reach in [side / 40, side / 24, side / 12, side / 6] {
        let Some(longer) = without_shadows(grey, reach) else { continue };
        let longer = Ink { values: inner(&longer.values), ..longer };
        // What spans the picture all at once is the shadow itself.
        if let Some(shorter) = shorter
            && (area(&longer.values) < 1.2 * area(&shorter.values)
                || spans(&longer.values) && !spans(&shorter.values))
        {
            return Ok(shorter);
        }
        shorter = Some(longer);
    }
    shorter.map_or(found, Ok)
}

/// Whether what stands out from a smooth background is a shadow, at least in part.
fn is_shadowed(grey: &Grey, found: &Ink) -> bool {
    // Bright ink with a strip of light at the edge, and no shadow with dark ink beside light.
    let is_bright = !found.is_inverted && found.opposite < LEAST_OPPOSITE;
    if is_bright || reaches_all_edges(&found.values) {
        return false;
    }
    // Lines and frames are as dark as before; stripes of shadow are none within a shorter reach.
    let side = grey.width.min(grey.height);
    let reaches: &[usize] = if may_be_stripes(&found.values) { &[12, 24, 40] } else { &[12] };
    let margin = in_margin(found);
    reaches.iter().any(|reach| {
        let shaded = without_shadows(grey, side / reach);
        shaded.is_some_and(|shaded| in_margin(&shaded) * 2.0 <= margin)
    })
}

/// The dark ink of a picture with shadows whose strokes are narrower than twice this reach.
fn without_shadows(grey: &Grey, reach: usize) -> Option<Ink> {
    stands_out(grey, &Background::under_shadows(grey, reach.max(1))).ok()
}

/// Whether ink reaches over nine tenths of the picture in both directions.
fn spans(ink: &Grey) -> bool {
    reach(ink).into_iter().all(|share| share >= 0.9)
}

/// Whether ink reaches as far as stripes of shadow do: all along them, and across them but for a bright
/// stripe at the edge.
fn may_be_stripes(ink: &Grey) -> bool {
    let [across, down] = reach(ink);
    across.max(down) >= 0.9 && across.min(down) >= 0.7
}

/// The share of the width and of the height of a picture that its ink reaches over.
fn reach(ink: &Grey) -> [f32; 2] {
    let [left, top, right, bottom] = bounds(ink).unwrap_or_default();
    [(right - left) as f32 / ink.width as f32, (bottom - top) as f32 / ink.height as f32]
}

/// The number of pixels that are ink.
fn area(ink: &Grey) -> f32 {
    ink.values.iter().filter(|value| **value >= 0.5).count() as f32
}

/// The share of the outermost twelfth of a picture that is ink.
fn in_margin(ink: &Ink) -> f32 {
    let Grey { width, height, ref values } = ink.values;
    let (mut all, mut drawn) = (0_usize, 0_usize);
    for (at, value) in values.iter().enumerate() {
        if is_outer(at % width, width) || is_outer(at / width, height) {
            all += 1;
            drawn += usize::from(*value >= 0.5);
        }
    }
    drawn as f32 / all.max(1) as f32
}

/// Whether a place lies in the first or the last twelfth of a side.
fn is_outer(at: usize, side: usize) -> bool {
    at * 12 < side || at * 12 >= side * 11
}

/// What stands out from a background.
fn stands_out(grey: &Grey, background: &Background) -> Result<Ink, PictureError> {
    let both = grey.values.iter().zip(&background.paper.values);
    let threshold = (4.0 * background.noise).max(10.0);
    let brighter = both.clone().map(|(value, paper)| value - paper);
    let balance: f32 = brighter.clone().filter(|brighter| brighter.abs() > threshold).sum();
    if balance == 0.0 {
        return Err(PictureError::Blank);
    }
    let is_inverted = balance < 0.0;
    let sign = if is_inverted { -1.0 } else { 1.0 };
    let opposite = brighter.filter(|brighter| -brighter * sign > threshold).count();
    let opposite = opposite as f32 / grey.values.len().max(1) as f32;
    let contrast: Vec<f32> = both
        .map(|(value, paper)| {
            let (found, most) =
                if is_inverted { (paper - value, *paper) } else { (value - paper, 255.0 - paper) };
            (found / most.max(32.0)).clamp(0.0, 1.0)
        })
        .collect();
    let strong = strength(&contrast);
    let brightness = (background.range[0] + background.range[1]) / 2.0;
    let most = if is_inverted { brightness } else { 255.0 - brightness };
    let noise = background.noise / most.max(32.0);
    if strong < FAINTEST.max(LEAST_OF_NOISE * noise) {
        return Err(PictureError::Blank);
    }
    let (low, high) = ((3.0 * noise).max(0.15 * strong).min(0.5 * strong), 0.8 * strong);
    let values = contrast.iter().map(|c| ((c - low) / (high - low)).clamp(0.0, 1.0)).collect();
    let values = Grey { values, ..*grey };
    Ok(Ink { values, is_inverted, was_uneven: background.is_uneven(), opposite })
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

/// The box around all ink: left, top, right and bottom, the last two not in it.
fn bounds(ink: &Grey) -> Option<[usize; 4]> {
    let places: Vec<usize> = (0..ink.values.len()).filter(|&at| ink.values[at] > 0.25).collect();
    let (top, bottom) = (places.first()? / ink.width, places.last()? / ink.width + 1);
    let left = places.iter().map(|at| at % ink.width).min()?;
    let right = places.iter().map(|at| at % ink.width).max()? + 1;
    Some([left, top, right, bottom])
}

/// How wide strokes are, in pixels: twice the area of the ink over the length of its edge.
fn stroke(ink: &Grey) -> f32 {
    let (mut area, mut edge) = (0_usize, 0_usize);
    for (x, y) in (0..ink.height).flat_map(|y| (0..ink.width).map(move |x| (x, y))) {
        if ink.at(x, y) >= 0.5 {
            area += 1;
            edge += usize::from(is_at_edge(ink, x, y));
        }
    }
    2.0 * area as f32 / edge.max(1) as f32
}

/// Whether a pixel lies at the edge of the picture, or beside one without ink.
fn is_at_edge(ink: &Grey, x: usize, y: usize) -> bool {
    x == 0
        || y == 0
        || x + 1 == ink.width
        || y + 1 == ink.height
        || [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)].iter().any(|&(x, y)| ink.at(x, y) < 0.5)
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

/// Scaled to its size and put where it belongs; the brightest pixel is 255.
fn centred(ink: &Grey, target: Target) -> Grey {
    let Target { width, height, side, by } = target;
    let longest = ink.width.max(ink.height);
    let [wide, high] =
        [ink.width, ink.height].map(|of| ((of * side * 2 + longest) / (2 * longest)).max(1));
    let small = ink.resized(wide, high);
    let drawn = Drawn::of(small.values.iter().map(|&value| f64::from(value)), small.width);
    let centre = match (by, drawn) {
        (Centre::Mass, Some(drawn)) => drawn.mass,
        _ => [small.width as f64 / 2.0, small.height as f64 / 2.0],
    };
    let left = offset(centre[0], small.width, width);
    let top = offset(centre[1], small.height, height);
    let factor = 255.0 / small.largest().max(f32::MIN_POSITIVE);
    let mut picture = Grey::black(width, height);
    for (y, line) in small.values.chunks_exact(small.width).enumerate() {
        let start = (top + y) * width + left;
        for (to, from) in picture.values[start..].iter_mut().zip(line) {
            *to = (from * factor).round().min(255.0);
        }
    }
    picture
}

/// The pixels before ink of `of` pixels with this centre, on a side of `all`.
///
/// Whoever made MNIST moved by whole pixels, and rounded up: of its first 20,000 training images all but
/// a few have the centre of mass within a pixel behind the middle, each place as often as any other. A
/// thousandth less, so that what is symmetric is not moved by rounding. Ink stays in the picture, however
/// lopsided it is.
fn offset(centre: f64, of: usize, all: usize) -> usize {
    ((all as f64 / 2.0 - centre - 1e-3).ceil().max(0.0) as usize).min(all.saturating_sub(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MNIST: Target = Target { width: 28, height: 28, side: 20, by: Centre::Mass };

    /// A bar of 20 pixels with its left upper corner there.
    fn bar(left: usize, top: usize) -> Grey {
        let mut grey = Grey::black(28, 28);
        for y in top..top + 20 {
            grey.values[y * 28 + left..y * 28 + left + 5].fill(200.0);
        }
        grey
    }

    #[test]
    fn ink_of_the_right_size_is_moved_and_not_drawn_again() {
        let right = bar(12, 4);
        assert_eq!(moved(&right, MNIST).as_ref(), Some(&right));
        for (left, top) in [(8, 4), (12, 0), (22, 8), (0, 2), (14, 6)] {
            assert_eq!(moved(&bar(left, top), MNIST).as_ref(), Some(&right), "{left} {top}");
        }
        let small = Target { side: 12, ..MNIST };
        assert_eq!(moved(&right, small), None);
        assert_eq!(moved(&right.map(|value| value + 50.0), MNIST), None);
        assert_eq!(moved(&Grey::black(28, 28), MNIST), None);
    }

    #[test]
    fn the_smallest_pictures_are_read_or_refused() {
        for (width, height) in [(1, 1), (1, 9), (2, 2), (3, 5), (7, 2), (12, 12)] {
            for step in 1..9 {
                let values =
                    (0..width * height).map(|at| ((at * step * 37) % 256) as f32).collect();
                let grey = Grey { width, height, values };
                if let Ok(found) = digit(&grey, MNIST, Polarity::BrightOnDark) {
                    assert_eq!(found.picture.values.len(), 784);
                }
            }
        }
    }
}
