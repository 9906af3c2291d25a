//! The plots of a report, each a picture of its own.

use fireclay_measure::{Calibration, ClassScores};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::log::{Curves, thinned};

// Colours told apart by people who do not see every colour (Okabe and Ito 2008). The page's style
// replaces each by another on a dark screen, so that every colour of a plot has to be one of these.
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2F);
const GRID: RGBColor = RGBColor(0xD8, 0xDE, 0xE4);
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const PALE: RGBColor = RGBColor(0x9C, 0xC4, 0xDE);
const ORANGE: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

const FONT: &str = "sans-serif";
/// Readable on a phone, where a plot is shrunk to about 340 pixels.
const TEXT_SIZE: f64 = 17.0;
const SIZE: (u32, u32) = (460, 320);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws a picture of a size.
fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        // A file of its own may be looked at on any ground.
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        draw(&root).map_err(|error| error.to_string())?;
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn text(size: f64) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// Where text is held: at its right or left end, or in its middle, always at half its height.
fn held(horizontal: HPos) -> TextStyle<'static> {
    text(TEXT_SIZE).pos(Pos::new(horizontal, VPos::Center))
}

/// Points of a curve; more are averaged.
const MOST_POINTS: usize = 300;

/// A number over the epochs: in training, and on the validation rows.
pub(crate) fn curves(name: &str, curves: &Curves) -> Result<String, String> {
    let steps = thinned(&curves.steps, MOST_POINTS);
    let training = thinned(&curves.training, MOST_POINTS);
    let validation = thinned(&curves.validation, MOST_POINTS);
    let (low, high) = range(&steps, &[&training, &validation]);
    let last = steps.iter().chain(&training).map(|point| point.0).fold(0.0, f64::max);
    let is_alone = training.is_empty() && validation.is_empty();
    let steps_colour = if is_alone { BLUE } else { PALE };
    svg(SIZE, |root| {
        let (head, body) = root.split_vertically(if is_alone { 0 } else { 24 });
        if !is_alone {
            let all = [
                ("steps", &steps, PALE),
                ("training", &training, BLUE),
                ("validation", &validation, ORANGE),
            ];
            let there = all.iter().filter(|(_, curve, _)| !curve.is_empty());
            draw_legend(&head, there.map(|&(name, _, colour)| (name, colour)))?;
        }
        let mut chart = ChartBuilder::on(&body)
            .margin(8)
            .margin_right(18)
            .x_label_area_size(44)
            .y_label_area_size(66)
            .build_cartesian_2d(0.0..last.max(1e-9), low..high)?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(text(TEXT_SIZE))
            .axis_desc_style(text(TEXT_SIZE))
            .x_desc("epoch")
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| short_number(*x))
            .y_label_formatter(&|y| short_number(*y))
            .draw()?;
        let steps = clamped(&steps, low, high);
        chart.draw_series(LineSeries::new(steps, steps_colour.stroke_width(2)))?;
        for (curve, colour) in [(&training, BLUE), (&validation, ORANGE)] {
            let curve = clamped(curve, low, high);
            // Marks that touch each other would hide the line.
            let marked = if curve.len() > 30 { &[] } else { &curve[..] };
            let marks = marked.iter().map(|&point| Circle::new(point, 4, colour.filled()));
            chart.draw_series(marks)?;
            chart.draw_series(LineSeries::new(curve.clone(), colour.stroke_width(3)))?;
        }
        Ok(())
    })
    .map_err(|error| format!("{name}: {error}"))
}

/// A curve of which what is beyond the range runs along its edge.
fn clamped(curve: &[(f64, f64)], low: f64, high: f64) -> Vec<(f64, f64)> {
    curve.iter().map(|&(x, y)| (x, y.clamp(low, high))).collect()
}

/// Names beside their colours, on one line.
fn draw_legend<'a>(area: &Area<'_>, names: impl Iterator<Item = (&'a str, RGBColor)>) -> Drawn {
    let mut left = 74;
    for (name, colour) in names {
        let swatch = [(left, 10), (left + 18, 16)];
        area.draw(&Rectangle::new(swatch, colour.filled()))?;
        area.draw(&Text::new(name.to_owned(), (left + 24, 13), held(HPos::Left)))?;
        left += 48 + 9 * name.len() as i32;
    }
    Ok(())
}

/// From the least to the greatest of what is to be seen: whole epochs, and of the steps those
/// behind the first half epoch, when numbers fall most, without the wildest tenth.
fn range(steps: &[(f64, f64)], epochs: &[&[(f64, f64)]]) -> (f64, f64) {
    let is_alone = epochs.iter().all(|curve| curve.is_empty());
    let calm = steps.iter().filter(|point| is_alone || point.0 > 0.5);
    let mut calm: Vec<f64> = calm.map(|point| point.1).collect();
    calm.sort_by(f64::total_cmp);
    let wild = if is_alone { 0 } else { calm.len() / 20 };
    let calm = &calm[wild..calm.len() - wild];
    let ends = epochs.iter().flat_map(|curve| curve.iter().map(|point| point.1));
    let all: Vec<f64> = calm.iter().copied().chain(ends).collect();
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return (0.0, 1.0);
    }
    // One number alone, such as a constant learning rate, runs through the middle.
    let margin = if high > low { 0.04 * (high - low) } else { high.abs().max(1e-9) };
    (low - margin, high + margin)
}

/// A number of an axis: `0.05`, `12`, `1e-5`.
fn short_number(number: f64) -> String {
    let size = number.abs();
    if size < 1e-12 {
        "0".to_owned()
    } else if !(1e-4..1e5).contains(&size) {
        format!("{number:.1e}").replace(".0e", "e")
    } else {
        let text = format!("{number:.5}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// A name that fits into a plot.
fn short_name(name: &str, most: usize) -> String {
    let visible: String =
        name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if visible.chars().count() <= most {
        return visible;
    }
    visible.chars().take(most - 1).chain(['…']).collect()
}

/// Classes that a confusion matrix is drawn for.
pub(crate) const MOST_CONFUSED: usize = 100;
/// Classes up to which the matrix has names and numbers.
const MOST_NUMBERED: usize = 16;

/// Rows are what is true, columns what was said; a diagonal cell is as full as the recall of its
/// class, another as its share of the largest confusion.
pub(crate) fn confusion(labels: &[String], confusion: &[Vec<usize>]) -> Result<String, String> {
    let classes = labels.len();
    let is_numbered = classes <= MOST_NUMBERED;
    let cell = if is_numbered { 40 } else { (560 / classes as i32).max(5) };
    let longest = labels.iter().map(|label| short_name(label, 10).chars().count()).max();
    let longest = longest.unwrap_or(0) as i32;
    let is_upright = longest <= 4;
    let left = if is_numbered { 40 + 9 * longest } else { 34 };
    let bottom = match (is_numbered, is_upright) {
        (true, false) => 40 + 9 * longest,
        (true, true) => 50,
        (false, _) => 34,
    };
    let side = cell * classes as i32;
    let size = ((left + side + 8) as u32, (side + bottom + 8) as u32);
    let counts = confusion.iter().enumerate().flat_map(|(i, row)| {
        row.iter().enumerate().filter(move |(j, _)| *j != i).map(|(_, &count)| count)
    });
    let most = counts.max().unwrap_or(0);
    let corner = |i: usize, j: usize| (left + j as i32 * cell, 4 + i as i32 * cell);
    svg(size, |root| {
        for (i, row) in confusion.iter().enumerate() {
            let all: usize = row.iter().sum();
            for (j, &count) in row.iter().enumerate() {
                let (x, y) = corner(i, j);
                let of = if i == j { all } else { most };
                let share = if of == 0 { 0.0 } else { count as f64 / of as f64 };
                let colour = if i == j { BLUE } else { ORANGE };
                if count > 0 {
                    let fill = colour.mix(0.12 + 0.48 * share).filled();
                    root.draw(&Rectangle::new([(x, y), (x + cell - 1, y + cell - 1)], fill))?;
                    if is_numbered {
                        let middle = (x + cell / 2, y + cell / 2);
                        let style = held(HPos::Center);
                        root.draw(&Text::new(count.to_string(), middle, style))?;
                    }
                }
            }
        }
        let frame = [corner(0, 0), corner(classes, classes)];
        root.draw(&Rectangle::new(frame, GRID.stroke_width(1)))?;
        if is_numbered {
            for (i, label) in labels.iter().enumerate() {
                let name = short_name(label, 10);
                let at = (left - 6, corner(i, 0).1 + cell / 2);
                root.draw(&Text::new(name.clone(), at, held(HPos::Right)))?;
                draw_below(root, &name, is_upright, (corner(0, i).0 + cell / 2, side + 10))?;
            }
        }
        let middle = side / 2;
        let down = text(TEXT_SIZE)
            .transform(FontTransform::Rotate270)
            .pos(Pos::new(HPos::Center, VPos::Center));
        root.draw(&Text::new("true class", (14, 4 + middle), down))?;
        let at = (left + middle, side + bottom - 6);
        root.draw(&Text::new("predicted class", at, held(HPos::Center)))?;
        Ok(())
    })
}

/// A name below a column, upright or from top to bottom.
fn draw_below(root: &Area<'_>, name: &str, is_upright: bool, (x, y): (i32, i32)) -> Drawn {
    let (at, style) = if is_upright {
        ((x, y + 6), held(HPos::Center))
    } else {
        let style = text(TEXT_SIZE).transform(FontTransform::Rotate90);
        ((x, y), style.pos(Pos::new(HPos::Left, VPos::Center)))
    };
    root.draw(&Text::new(name.to_owned(), at, style))?;
    Ok(())
}

/// Classes that bars are drawn of: those with the least F1 of more.
pub(crate) const MOST_BARS: usize = 40;

/// The F1 of each class as a bar with its interval.
pub(crate) fn class_bars(classes: &[ClassScores]) -> Result<String, String> {
    let mut shown: Vec<&ClassScores> =
        classes.iter().filter(|class| class.support + class.predicted > 0).collect();
    if shown.len() > MOST_BARS {
        shown.sort_by(|a, b| a.f1.value.total_cmp(&b.f1.value));
        shown.truncate(MOST_BARS);
    }
    let longest = shown.iter().map(|class| short_name(&class.label, 12).chars().count()).max();
    let left = 24 + 9 * longest.unwrap_or(0) as i32;
    let (bar, right) = (26, 64);
    let bottom = 4 + bar * shown.len() as i32;
    let start = shown.iter().map(|class| class.f1.low).fold(1.0, f64::min);
    // A twentieth below the shortest, so that differences between bars are seen.
    let start = ((start * 20.0).floor() / 20.0 - 0.05).max(0.0);
    let width = SIZE.0 as i32 - left - right;
    let x = |value: f64| left + ((value - start) / (1.0 - start) * f64::from(width)) as i32;
    svg((SIZE.0, bottom as u32 + 34), |root| {
        for tick in [start, (1.0 + start) / 2.0, 1.0] {
            let line = vec![(x(tick), 4), (x(tick), bottom)];
            root.draw(&PathElement::new(line, GRID.stroke_width(1)))?;
            let label = format!("{:.4}", tick);
            let label = label.trim_end_matches('0').trim_end_matches('.').to_owned();
            root.draw(&Text::new(label, (x(tick), bottom + 16), held(HPos::Center)))?;
        }
        for (i, class) in shown.iter().enumerate() {
            let middle = 4 + bar * i as i32 + bar / 2;
            let name = short_name(&class.label, 12);
            root.draw(&Text::new(name, (left - 6, middle), held(HPos::Right)))?;
            let ends = [(left, middle - 8), (x(class.f1.value), middle + 8)];
            root.draw(&Rectangle::new(ends, BLUE.mix(0.6).filled()))?;
            let interval = vec![(x(class.f1.low), middle), (x(class.f1.high), middle)];
            root.draw(&PathElement::new(interval, INK.stroke_width(2)))?;
            let number = format!("{:.3}", class.f1.value);
            let at = (SIZE.0 as i32 - 4, middle);
            root.draw(&Text::new(number, at, held(HPos::Right)))?;
        }
        Ok(())
    })
}

/// A square plot of one range along both axes.
type Square<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the axes of a square plot, with these names below and beside it.
fn square<'a, 'b>(
    root: &'a Area<'b>,
    range: std::ops::Range<f64>,
    [below, beside]: [&str; 2],
) -> Result<Square<'a, 'b>, Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(root)
        .margin(8)
        .margin_right(18)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(range.clone(), range)?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(text(TEXT_SIZE))
        .axis_desc_style(text(TEXT_SIZE))
        .x_desc(below)
        .y_desc(beside)
        .x_labels(5)
        .y_labels(6)
        .x_label_formatter(&|x| short_number(*x))
        .y_label_formatter(&|y| short_number(*y))
        .draw()?;
    Ok(chart)
}

/// The size of a square plot.
const SQUARE: (u32, u32) = (420, 380);

/// Accuracy over confidence: bars that end on the diagonal are probabilities to be believed.
pub(crate) fn reliability(calibration: &Calibration) -> Result<String, String> {
    svg(SQUARE, |root| {
        let mut chart = square(root, 0.0..1.0, ["confidence", "accuracy"])?;
        let seen = calibration.bins.iter().filter(|bin| bin.predictions > 0);
        chart.draw_series(seen.clone().map(|bin| {
            let ends = [(bin.low + 0.004, 0.0), (bin.high - 0.004, bin.accuracy)];
            Rectangle::new(ends, BLUE.mix(0.6).filled())
        }))?;
        let diagonal = LineSeries::new([(0.0, 0.0), (1.0, 1.0)], INK.stroke_width(1));
        chart.draw_series(diagonal)?;
        let points = seen.map(|bin| (bin.confidence, bin.accuracy));
        chart.draw_series(points.map(|point| Circle::new(point, 4, ORANGE.filled())))?;
        Ok(())
    })
}

/// Predicted over true values: points on the diagonal are predicted exactly.
pub(crate) fn fit(points: &[(f64, f64)]) -> Result<String, String> {
    let all = points.iter().flat_map(|&(truth, predicted)| [truth, predicted]);
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    // A constant target has room around it too.
    let margin = if high > low { 0.03 * (high - low) } else { 1.0 };
    let (low, high) = if points.is_empty() { (0.0, 1.0) } else { (low - margin, high + margin) };
    svg(SQUARE, |root| {
        let mut chart = square(root, low..high, ["true", "predicted"])?;
        let points = points.iter().map(|&point| Circle::new(point, 2, BLUE.mix(0.5).filled()));
        chart.draw_series(points)?;
        let diagonal = LineSeries::new([(low, low), (high, high)], INK.stroke_width(1));
        chart.draw_series(diagonal)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_escaped() {
        assert_eq!(short_name("a\nb", 5), "a\u{fffd}b");
        assert_eq!(short_name("abcdef", 5), "abcd…");
        let labels = ["<script>".to_owned(), "b".to_owned()];
        let text = confusion(&labels, &[vec![3, 1], vec![0, 2]]).unwrap();
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script"));
    }

    #[test]
    fn numbers_of_an_axis_are_short() {
        for (number, text) in
            [(0.0, "0"), (0.05, "0.05"), (12.0, "12"), (1e-5, "1e-5"), (-2.5e-6, "-2.5e-6")]
        {
            assert_eq!(short_number(number), text);
        }
    }

    #[test]
    fn the_first_steps_do_not_flatten_the_rest() {
        let steps: Vec<(f64, f64)> =
            (0..100).map(|i| (f64::from(i) / 20.0, if i < 10 { 50.0 } else { 1.0 })).collect();
        let (low, high) = range(&steps, &[&[(1.0, 0.5)]]);
        assert!(low < 0.5 && high > 1.0 && high < 2.0, "{low} {high}");
        assert_eq!(range(&[], &[]), (0.0, 1.0));
    }

    #[test]
    fn many_classes_are_drawn_without_numbers() {
        let labels: Vec<String> = (0..60).map(|i| i.to_string()).collect();
        let matrix = vec![vec![1; 60]; 60];
        let text = confusion(&labels, &matrix).unwrap();
        assert_eq!(text.matches("<text").count(), 2);
    }
}
