//! Which of the ink is the character: without frames, lines, edges of a scan and specks.

use crate::PictureError;
use crate::grey::Grey;

/// The least share of a mark's area, of the largest one's, that is not taken for a speck.
const SPECK: f32 = 0.03;

/// The fewest specks that a photograph has around what looks like a character; 36 of 51 have more.
const LEAST_CLUTTER: usize = 30;
/// The most marks of a picture; noise has more.
const MOST_MARKS: usize = 5_000;
/// The most of the largest marks that may surround others.
const MOST_LARGE: usize = 50;

/// The ink of a character, and what was left out of it.
pub(crate) struct Marks {
    pub(crate) ink: Grey,
    /// In the order in which it was done.
    pub(crate) done: Vec<String>,
    /// Whether there are several characters side by side.
    pub(crate) is_crowd: bool,
    /// Whether much of all sizes was left out.
    pub(crate) is_cluttered: bool,
}

/// A mark: pixels of ink that touch each other.
pub(crate) struct Mark {
    pub(crate) pixels: Vec<usize>,
    /// The box around it: left, top, right and bottom, the last two not in it.
    pub(crate) bounds: [usize; 4],
}

impl Mark {
    pub(crate) fn width(&self) -> usize {
        self.bounds[2] - self.bounds[0]
    }

    pub(crate) fn height(&self) -> usize {
        self.bounds[3] - self.bounds[1]
    }

    pub(crate) fn longest(&self) -> usize {
        self.width().max(self.height())
    }

    fn middle(&self) -> [usize; 2] {
        [(self.bounds[0] + self.bounds[2]) / 2, (self.bounds[1] + self.bounds[3]) / 2]
    }
}

/// Finds the marks that make the character.
pub(crate) fn marks(ink: &Grey) -> Result<Marks, PictureError> {
    let mut done = Vec::new();
    let without_lines = without_lines(ink);
    if without_lines.is_some() {
        done.push("lines left out".to_owned());
    }
    let ink = without_lines.as_ref().unwrap_or(ink);
    let mut found = connected(ink);
    if found.len() > MOST_MARKS {
        return Err(PictureError::Tangle);
    }
    if leave_out_surroundings(&mut found, ink) {
        done.push("what surrounds it left out".to_owned());
    }
    let largest = found.iter().map(|mark| mark.pixels.len()).max().ok_or(PictureError::Blank)?;
    let (specks, mut kept): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|mark| is_speck(mark, largest));
    match specks.len() {
        0 => {}
        1 => done.push("1 speck left out".to_owned()),
        specks => done.push(format!("{specks} specks left out")),
    }
    let is_cluttered = is_clutter(specks);
    match leave_out_strays(&mut kept, ink) {
        0 => {}
        1 => done.push("1 mark away from it left out".to_owned()),
        strays => done.push(format!("{strays} marks away from it left out")),
    }
    let mut large: Vec<&Mark> = kept.iter().collect();
    // A level line is no character, and a piece of one neither.
    large.retain(|mark| {
        let is_flat = mark.width() >= mark.height() * 8;
        mark.pixels.len() * 4 >= largest && !is_flat && !is_line(mark, ink)
    });
    let most = [0, 1].map(|axis| beside_each_other(&large, axis));
    if most.into_iter().any(|count| count > 2) {
        return Err(PictureError::Crowd);
    }
    Ok(Marks { ink: only(ink, &kept), done, is_crowd: most.contains(&2), is_cluttered })
}

/// Leaves out the marks that lie around the others; whether there were any. The rest begins with the
/// largest.
fn leave_out_surroundings(found: &mut Vec<Mark>, ink: &Grey) -> bool {
    // The smallest surround nothing, and noise has thousands of them.
    found.sort_by_key(|mark| std::cmp::Reverse(mark.pixels.len()));
    let large = &found[..found.len().min(MOST_LARGE)];
    let around_it: Vec<bool> = large.iter().map(|mark| is_around(mark, large, ink)).collect();
    // What surrounds everything is the character itself.
    let is_all = found.len() == around_it.len() && !around_it.contains(&false);
    if is_all || !around_it.contains(&true) {
        return false;
    }
    let mut around_it = around_it.into_iter();
    found.retain(|_| !around_it.next().unwrap_or(false));
    true
}

/// Whether a mark is far smaller than the largest.
fn is_speck(mark: &Mark, largest: usize) -> bool {
    (mark.pixels.len() as f32) < SPECK * largest as f32
}

/// Whether specks are many and of all sizes: dots of paper, dust and noise are alike.
fn is_clutter(specks: Vec<Mark>) -> bool {
    let mut sizes: Vec<usize> = specks.iter().map(|mark| mark.pixels.len()).collect();
    sizes.sort_unstable();
    let (middle, large) = (sizes.len() / 2, sizes.len() * 19 / 20);
    sizes.len() >= LEAST_CLUTTER && sizes[large] >= 5 * sizes[middle]
}

/// Leaves out what lies away from the character and is none: punch holes, edges, small print. Returns how
/// many marks that were.
fn leave_out_strays(kept: &mut Vec<Mark>, ink: &Grey) -> usize {
    let largest =
        (0..kept.len()).max_by_key(|&at| (!is_stray(&kept[at], ink), kept[at].pixels.len()));
    let Some(first) = largest else { return 0 };
    // Of a few pixels little can be said.
    if is_stray(&kept[first], ink) || kept[first].longest() < 16 {
        return 0;
    }
    // From mark to mark: strokes that belong together are near each other.
    let (most_gap, largest) = (kept[first].longest() / 4, kept[first].pixels.len());
    let mut is_near = vec![false; kept.len()];
    is_near[first] = true;
    let mut next = vec![first];
    while let Some(at) = next.pop() {
        for other in 0..kept.len() {
            if !is_near[other] && gap(&kept[at], &kept[other]) <= most_gap {
                is_near[other] = true;
                next.push(other);
            }
        }
    }
    let before = kept.len();
    let mut is_near = is_near.into_iter();
    kept.retain(|mark| {
        let is_small = mark.pixels.len() * 4 < largest;
        is_near.next().unwrap_or(true) || !(is_small || is_stray(mark, ink))
    });
    before - kept.len()
}

/// Whether a mark is no part of a character where it lies away from it.
fn is_stray(mark: &Mark, ink: &Grey) -> bool {
    is_blob(mark, ink) || is_line(mark, ink)
}

/// Whether a mark is small, as wide as high and full, such as a hole in the paper: a disc fills 79 % of
/// its box.
fn is_blob(mark: &Mark, ink: &Grey) -> bool {
    let (wide, high) = (mark.width(), mark.height());
    wide.min(high) >= 8
        && wide.max(high) * 8 <= ink.width.min(ink.height)
        && wide.min(high) * 3 >= wide.max(high) * 2
        && mark.pixels.len() * 10 >= wide * high * 7
}

/// The pixels between the boxes around two marks, along the axis on which there are more.
fn gap(one: &Mark, other: &Mark) -> usize {
    let [across, down] = [0, 1].map(|axis| {
        let [start, end] = [one.bounds[axis], one.bounds[axis + 2]];
        let [from, to] = [other.bounds[axis], other.bounds[axis + 2]];
        from.saturating_sub(end).max(start.saturating_sub(to))
    });
    across.max(down)
}

/// How many marks there are without one beside or above another, 0 for beside; what a narrow gap parts
/// was one stroke before a line was taken off it.
fn beside_each_other(marks: &[&Mark], axis: usize) -> usize {
    let gap = marks.iter().map(|mark| mark.longest()).max().unwrap_or(0) / 10;
    let mut sides: Vec<[usize; 2]> =
        marks.iter().map(|mark| [mark.bounds[axis], mark.bounds[axis + 2]]).collect();
    sides.sort_unstable();
    let (mut count, mut last) = (0, 0);
    for [start, end] in sides {
        if count == 0 || start > last + gap {
            count += 1;
        }
        last = last.max(end);
    }
    count
}

/// Whether one or two marks reach all four edges of the picture: a frame, or a character that was cut out;
/// stripes of shadow are more.
pub(crate) fn reaches_all_edges(ink: &Grey) -> bool {
    let found = connected(ink);
    let largest = found.iter().map(|mark| mark.pixels.len()).max().unwrap_or(0);
    let mut inner = [ink.width, ink.height, 0, 0];
    let mut outer = 0;
    for mark in found.iter().filter(|mark| !is_speck(mark, largest)) {
        let [left, top, right, bottom] = mark.bounds;
        let [x, y, z, w] = inner;
        inner = [x.min(left), y.min(top), z.max(right), w.max(bottom)];
        outer += usize::from(!is_inside(mark, ink));
    }
    // Edges are soft.
    let (across, down) = (1 + ink.width / 24, 1 + ink.height / 24);
    let [left, top, right, bottom] = inner;
    outer <= 2
        && left <= across
        && right + across >= ink.width
        && top <= down
        && bottom + down >= ink.height
}

/// Whether a mark is a pixel or more away from the edges of the picture.
fn is_inside(mark: &Mark, ink: &Grey) -> bool {
    let [left, top, right, bottom] = mark.bounds;
    left > 1 && top > 1 && right + 1 < ink.width && bottom + 1 < ink.height
}

/// The ink without what reaches in from the edges of the picture, but for the largest mark.
pub(crate) fn inner(ink: &Grey) -> Grey {
    let mut found = connected(ink);
    let largest = found.iter().map(|mark| mark.pixels.len()).max().unwrap_or(0);
    found.retain(|mark| is_inside(mark, ink) || mark.pixels.len() == largest);
    only(ink, &found)
}

/// The ink of these marks. Strokes are soft at their edges: what is within two pixels of a mark
/// belongs to it.
fn only(ink: &Grey, marks: &[Mark]) -> Grey {
    let mut is_kept = vec![false; ink.values.len()];
    for &at in marks.iter().flat_map(|mark| &mark.pixels) {
        for near in around(ink, at, 2) {
            is_kept[near] = true;
        }
    }
    let values = ink.values.iter().zip(is_kept).map(|(&v, kept)| if kept { v } else { 0.0 });
    Grey { values: values.collect(), ..*ink }
}

/// Whether a mark is no part of the character but lies around it: a frame, an edge of the paper or
/// the scan, a line across the picture.
fn is_around(mark: &Mark, all: &[Mark], ink: &Grey) -> bool {
    let mut others: Vec<&Mark> = all.iter().collect();
    others.retain(|other| !std::ptr::eq(*other, mark));
    if others
        .iter()
        .any(|other| other.longest() * 10 >= mark.longest() * 3 && encloses(mark, other, ink))
    {
        return true;
    }
    let (width, height) = (ink.width, ink.height);
    let [left, top, right, bottom] = mark.bounds;
    let touches = [left <= 1, top <= 1, right + 1 >= width, bottom + 1 >= height];
    let sides = touches.iter().filter(|touches| **touches).count();
    let is_wide = mark.width() * 10 >= width * 6 || mark.height() * 10 >= height * 6;
    if sides > 0 && is_wide && is_in_margin(mark, ink) {
        // A straight strip along one edge is no stroke of what was cut out, which may reach three.
        let area = mark.width() * mark.height();
        let is_strip = sides == 3 && mark.pixels.len() * 10 >= area * 9;
        let share = if sides > 2 && !is_strip { 30 } else { 15 };
        return others.iter().any(|other| is_drawn(other, ink, share));
    }
    is_line(mark, ink) && others.iter().any(|other| is_drawn(other, ink, 15))
}

/// Whether a mark lies where one draws, and is as long as this share of the shorter side, in hundredths.
fn is_drawn(mark: &Mark, ink: &Grey, share: usize) -> bool {
    let sides = [ink.width, ink.height];
    let mut places = mark.middle().into_iter().zip(sides);
    mark.longest() * 100 >= ink.width.min(ink.height) * share
        && places.all(|(at, side)| at * 5 >= side && at * 5 <= side * 4)
        && !is_line(mark, ink)
}

/// Whether a mark is thin, straight and nearly as long as the picture.
fn is_line(mark: &Mark, ink: &Grey) -> bool {
    let (wide, high) = (mark.width(), mark.height());
    (wide * 4 >= ink.width * 3 && wide >= high * 8)
        || (high * 4 >= ink.height * 3 && high >= wide * 8)
}

/// Whether most of a mark lies along the edges of the picture.
fn is_in_margin(mark: &Mark, ink: &Grey) -> bool {
    let outer = mark
        .pixels
        .iter()
        .filter(|&&at| is_outer(at % ink.width, ink.width) || is_outer(at / ink.width, ink.height));
    outer.count() * 10 >= mark.pixels.len() * 8
}

/// Whether a place lies in the first or the last fifth of a side.
fn is_outer(at: usize, side: usize) -> bool {
    at * 5 < side || at * 5 >= side * 4
}

/// Whether a mark lies on all sides of another: in seven of eight directions at least, for a frame
/// may have a gap.
fn encloses(mark: &Mark, other: &Mark, ink: &Grey) -> bool {
    let [left, top, right, bottom] = mark.bounds;
    let [x, y, z, w] = other.bounds;
    if left > x || top > y || right < z || bottom < w || mark.longest() <= other.longest() {
        return false;
    }
    let mut is_mark = vec![false; ink.values.len()];
    mark.pixels.iter().for_each(|&at| is_mark[at] = true);
    let directions = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]];
    let hits = directions
        .into_iter()
        .filter(|&direction| is_hit(&is_mark, [ink.width, ink.height], other.middle(), direction));
    hits.count() >= 7
}

/// Whether a mark is met on the way from a pixel to the edge of the picture.
fn is_hit(
    is_mark: &[bool],
    [width, height]: [usize; 2],
    from: [usize; 2],
    [right, down]: [isize; 2],
) -> bool {
    let [mut x, mut y] = from.map(|at| at as isize);
    while x >= 0 && y >= 0 && (x as usize) < width && (y as usize) < height {
        // A step aside as well: a diagonal may slip between two pixels.
        let at = y as usize * width + x as usize;
        let beside = at + usize::from((x as usize) + 1 < width);
        if is_mark[at] || is_mark[beside] {
            return true;
        }
        (x, y) = (x + right, y + down);
    }
    false
}

/// The pixels of the square of this radius around one.
fn around(grey: &Grey, at: usize, radius: usize) -> impl Iterator<Item = usize> + use<> {
    let (width, x, y) = (grey.width, at % grey.width, at / grey.width);
    let rows = y.saturating_sub(radius)..(y + radius + 1).min(grey.height);
    let columns = x.saturating_sub(radius)..(x + radius + 1).min(width);
    rows.flat_map(move |y| columns.clone().map(move |x| y * width + x))
}

/// The marks of a picture.
pub(crate) fn connected(ink: &Grey) -> Vec<Mark> {
    let mut is_new: Vec<bool> = ink.values.iter().map(|value| *value >= 0.5).collect();
    let mut marks = Vec::new();
    for start in 0..is_new.len() {
        if !std::mem::take(&mut is_new[start]) {
            continue;
        }
        let mut mark = Mark { pixels: vec![start], bounds: [ink.width, ink.height, 0, 0] };
        let mut next = 0;
        while let Some(&at) = mark.pixels.get(next) {
            next += 1;
            let (x, y) = (at % ink.width, at / ink.width);
            let [left, top, right, bottom] = mark.bounds;
            mark.bounds = [left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)];
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

/// The ink without straight lines through or around the character, if there are any: they reach
/// further than the character on both sides of it, which none of its own strokes does.
fn without_lines(ink: &Grey) -> Option<Grey> {
    let level = without_level_lines(ink);
    let upright = without_level_lines(&level.as_ref().unwrap_or(ink).transposed());
    upright.map(|ink| ink.transposed()).or(level)
}

/// A nearly level line: where it crosses the left edge, its slope, and its ends.
struct Line {
    rows: std::ops::Range<isize>,
    slope: f32,
    left: usize,
    right: usize,
}

impl Line {
    /// How far down it is at a column.
    fn fall(&self, x: usize) -> isize {
        (self.slope * x as f32).round() as isize
    }
}

fn without_level_lines(ink: &Grey) -> Option<Grey> {
    let lines = lines(ink);
    if lines.is_empty() {
        return None;
    }
    let mut cleared = ink.clone();
    lines.iter().for_each(|line| clear(line, ink, &mut cleared));
    let left = only(&cleared, &large(&cleared));
    let drawn: Vec<usize> = (0..left.values.len())
        .filter(|&at| left.values[at] >= 0.5)
        .map(|at| at % ink.width)
        .collect();
    let (first, last) = (*drawn.iter().min()?, *drawn.iter().max()?);
    let reach_further = lines.iter().all(|line| {
        let margin = (line.right - line.left) / 12;
        line.left + margin <= first && last + margin < line.right
    });
    reach_further.then_some(cleared)
}

/// The marks that are no remains of a line.
fn large(ink: &Grey) -> Vec<Mark> {
    let mut found = connected(ink);
    let least = ink.height.min(ink.width) / 10;
    found.retain(|mark| mark.longest() >= least.max(2) && !is_line(mark, ink));
    found
}

/// Lines of most of the width, thin, and not steeper than paper is laid askew.
fn lines(ink: &Grey) -> Vec<Line> {
    /// Steps of the slope, to both sides.
    const STEPS: i32 = 16;
    const STEEPEST: f32 = 0.08;
    if ink.width < 24 || ink.height < 24 {
        return Vec::new();
    }
    let least = ink.width * 3 / 5;
    let mut best: (usize, Vec<Line>) = (0, Vec::new());
    for step in -STEPS..=STEPS {
        let slope = STEEPEST * step as f32 / STEPS as f32;
        let (sharpness, found) = lines_of_slope(ink, slope, least);
        // The flattest of equals.
        if sharpness > best.0 || (sharpness == best.0 && step == 0) {
            best = (sharpness, found);
        }
    }
    best.1
}

/// The lines of this slope, and how sharp they are: along the right slope their pixels come together
/// in the fewest rows.
fn lines_of_slope(ink: &Grey, slope: f32, least: usize) -> (usize, Vec<Line>) {
    let reach = (slope.abs() * ink.width as f32).ceil() as isize;
    let rows = ink.height as isize + 2 * reach;
    let fall: Vec<isize> = (0..ink.width).map(|x| (slope * x as f32).round() as isize).collect();
    let mut counts = vec![0_usize; rows as usize];
    for (y, line) in ink.values.chunks_exact(ink.width).enumerate() {
        for (value, fall) in line.iter().zip(&fall) {
            counts[(y as isize - fall + reach) as usize] += usize::from(*value >= 0.5);
        }
    }
    let sharpness = counts.iter().filter(|count| **count >= least).map(|count| count * count).sum();
    let thickest = (ink.height / 20).max(2);
    let mut lines = Vec::new();
    let mut start = None;
    for at in 0..=counts.len() {
        let is_line = counts.get(at).is_some_and(|count| *count >= least);
        match (start, is_line) {
            (None, true) => start = Some(at),
            (Some(first), false) => {
                start = None;
                if at - first <= thickest {
                    // A soft edge on either side.
                    let rows = first as isize - reach - 1..at as isize - reach + 1;
                    lines.extend(ends(ink, Line { rows, slope, left: 0, right: 0 }, least));
                }
            }
            _ => {}
        }
    }
    (sharpness, lines)
}

/// The line with its ends, the longest piece of it with gaps of a twentieth of the width at most.
fn ends(ink: &Grey, line: Line, least: usize) -> Option<Line> {
    let (mut longest, mut left, mut last) = (0..0, None, 0);
    for x in 0..ink.width {
        if !line.rows.clone().any(|row| is_ink(ink, x, row + line.fall(x))) {
            continue;
        }
        let start = match left {
            Some(start) if x - last <= 1 + ink.width / 20 => start,
            _ => x,
        };
        (left, last) = (Some(start), x);
        if x + 1 - start > longest.len() {
            longest = start..x + 1;
        }
    }
    (longest.len() >= least).then_some(Line { left: longest.start, right: longest.end, ..line })
}

/// Whether there is ink at a pixel, which may lie above or below the picture.
fn is_ink(ink: &Grey, x: usize, y: isize) -> bool {
    y >= 0 && (y as usize) < ink.height && ink.at(x, y as usize) >= 0.5
}

/// Takes a line off, but where a stroke crosses it.
fn clear(line: &Line, ink: &Grey, cleared: &mut Grey) {
    for x in line.left..line.right {
        let fall = line.fall(x);
        let (first, last) = (line.rows.start + fall, line.rows.end + fall);
        // A slanting stroke comes in a little beside where it goes out.
        let near = x.saturating_sub(2)..(x + 3).min(ink.width);
        let comes = near.clone().any(|x| is_ink(ink, x, first - 1));
        let goes = near.clone().any(|x| is_ink(ink, x, last));
        if comes && goes {
            continue;
        }
        for y in first.max(0)..last.min(ink.height as isize) {
            cleared.values[y as usize * ink.width + x] = 0.0;
        }
    }
}

#[cfg(test)]
mod tests;
