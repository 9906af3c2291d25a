//! Sheets of paper, cards and panels that what is drawn lies on.

use crate::grey::Grey;
use crate::marks::{Mark, connected};

/// The inside of a mark that is no smaller than a sixteenth of the picture, nearly as wide as high, and
/// straight at its edges, with little drawn on it: a sheet of paper, bright or dark.
pub(crate) fn sheet(ink: &Grey, is_dark: bool) -> Option<[usize; 4]> {
    let mark = connected(ink).into_iter().max_by_key(|mark| mark.pixels.len())?;
    let area = mark.width() * mark.height();
    let [left, top, right, bottom] = mark.bounds;
    let outline = outline(&mark, ink.width);
    let is_solid = mark.pixels.len() * 5 >= area * 3 && outline * 5 >= area * 4;
    let is_sheet = is_solid
        && area * 16 >= ink.width * ink.height
        && mark.width().min(mark.height()) * 2 >= mark.longest();
    let is_large = mark.width() > 16 && mark.height() > 16;
    // Without its own edge, which may be askew.
    let (wide, high) = (mark.width() / 25, mark.height() / 25);
    // Bold digits are dark and solid as well, but round: an ellipse is 1.57 times what is between its
    // corners, a card with round corners less than 1.2 times.
    let is_sheet = is_sheet
        && is_large
        && (!is_dark || outline as f32 <= 1.2 * between_corners(&mark, ink.width));
    is_sheet.then_some([left + wide, top + high, right - wide, bottom - high])
}

/// The pixels from the first to the last of each row of a mark, in a picture of this width.
fn outline(mark: &Mark, width: usize) -> usize {
    let mut rows = vec![[usize::MAX, 0]; mark.height()];
    for at in &mark.pixels {
        let (x, row) = (at % width, &mut rows[at / width - mark.bounds[1]]);
        *row = [row[0].min(x), row[1].max(x + 1)];
    }
    rows.iter().map(|[first, last]| last.saturating_sub(*first)).sum()
}

/// The area of the quadrangle between the four corners of a mark, in a picture of this width.
fn between_corners(mark: &Mark, width: usize) -> f32 {
    let [a, b, c, d] = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
        .map(|direction| corner(mark, width, direction));
    // By the shoelace formula.
    (cross(a, b) + cross(b, c) + cross(c, d) + cross(d, a)).abs() / 2.0
}

/// The corner of a mark that is furthest to the right and down, or the other way for -1.
fn corner(mark: &Mark, width: usize, [right, down]: [f32; 2]) -> [f32; 2] {
    let places = mark.pixels.iter().map(|at| [(at % width) as f32, (at / width) as f32]);
    let furthest =
        places.max_by(|[x, y], [z, w]| (x * right + y * down).total_cmp(&(z * right + w * down)));
    // The outer corner of the pixel.
    furthest.map_or([0.0; 2], |[x, y]| [x + (1.0 + right) / 2.0, y + (1.0 + down) / 2.0])
}

/// The cross product of two points.
fn cross([x, y]: [f32; 2], [to_x, to_y]: [f32; 2]) -> f32 {
    x * to_y - to_x * y
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(is_ink: impl Fn(f32, f32) -> bool) -> Grey {
        let value = |at: usize| is_ink((at % 200) as f32 - 100.0, (at / 200) as f32 - 100.0);
        let values = (0..40_000).map(|at| f32::from(u8::from(value(at)))).collect();
        Grey { width: 200, height: 200, values }
    }

    #[test]
    fn a_dark_sheet_is_straight_and_a_bold_digit_is_not() {
        let is_drawn_on = |x: f32, y: f32| x.abs() < 8.0 && y.abs() < 40.0;
        for askew in [0.0, 0.03, -0.08] {
            let is_sheet = |x: f32, y: f32| {
                (x + askew * y).abs() < 70.0 && (y - askew * x).abs() < 60.0 && !is_drawn_on(x, y)
            };
            for is_dark in [false, true] {
                let [left, top, right, bottom] = sheet(&drawn(is_sheet), is_dark).unwrap();
                assert!(
                    left.abs_diff(33) < 8 && right.abs_diff(167) < 8,
                    "{askew}: {left} {right}"
                );
                assert!(
                    top.abs_diff(42) < 8 && bottom.abs_diff(158) < 8,
                    "{askew}: {top} {bottom}"
                );
            }
        }
        // A zero with a small hole, as an ellipse and nearly a box.
        for power in [2.0, 2.6] {
            let is_zero = |x: f32, y: f32| {
                (x / 50.0).abs().powf(power) + (y / 70.0).abs().powf(power) < 1.0
                    && !is_drawn_on(x, y)
            };
            assert_eq!(sheet(&drawn(is_zero), true), None, "{power}");
        }
    }
}
