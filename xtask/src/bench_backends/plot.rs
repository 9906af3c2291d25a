//! The picture: samples a second over batch size, a panel for each network.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::report::{Report, Training};

/// Distinguished by people who do not see every colour (Okabe and Ito 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Lines show where one backend overtakes another; bars show the least and the most of all rounds.
pub(crate) fn svg(report: &Report) -> Result<String> {
    let mut shapes: Vec<&str> = report.training.iter().map(|t| t.shape.as_str()).collect();
    shapes.dedup();
    let mut text = String::new();
    {
        let size = (640, 60 + 360 * shapes.len().max(1) as u32);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let m = &report.machine;
        let title = format!("Training: {}, {} cores, {}", m.processor, m.cores, m.date);
        let root = root.titled(&title, ("sans-serif", 16)).map_err(|error| failed(&error))?;
        for (area, shape) in root.split_evenly((shapes.len().max(1), 1)).iter().zip(shapes) {
            panel(area, shape, report).map_err(|error| failed(&*error))?;
        }
        root.present().map_err(|error| failed(&error))?;
    }
    Ok(text)
}

fn failed(error: &dyn std::error::Error) -> anyhow::Error {
    anyhow!("the picture cannot be drawn: {error}")
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    shape: &str,
    report: &Report,
) -> Result<(), Box<dyn std::error::Error>> {
    let all: Vec<&Training> = report.training.iter().filter(|t| t.shape == shape).collect();
    let batches = all.iter().map(|t| f64::from(t.batch));
    let (low, high) = range(batches);
    let speeds = all.iter().flat_map(|t| [t.samples_per_s.least, t.samples_per_s.most]);
    let (slow, fast) = range(speeds);
    let mut chart = ChartBuilder::on(area)
        .caption(shape, ("sans-serif", 15))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d((low..high).log_scale(), (slow..fast).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("batch size")
        .y_desc("samples/s")
        .light_line_style(WHITE.mix(0.0))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let mut backends: Vec<&str> = Vec::new();
    for t in &all {
        if !backends.contains(&t.backend.as_str()) {
            backends.push(&t.backend);
        }
    }
    for (i, backend) in backends.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut of: Vec<&&Training> = all.iter().filter(|t| t.backend == *backend).collect();
        of.sort_by_key(|t| t.batch);
        let points = of.iter().map(|t| (f64::from(t.batch), t.samples_per_s.median));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
            .label(*backend)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour));
        chart.draw_series(of.iter().map(|t| {
            let s = &t.samples_per_s;
            ErrorBar::new_vertical(f64::from(t.batch), s.least, s.median, s.most, colour, 8)
        }))?;
    }
    chart
        .configure_series_labels()
        .border_style(BLACK)
        .background_style(WHITE.mix(0.9))
        .position(SeriesLabelPosition::LowerRight)
        .draw()?;
    Ok(())
}

/// Whole decades around the numbers.
fn range(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = numbers
        .filter(|number| number.is_finite() && *number > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(least, most), x| (least.min(x), most.max(x)));
    if least > most {
        return (1.0, 10.0);
    }
    let low = (least / 1.1).log10().floor();
    let high = (most * 1.1).log10().ceil().max(low + 1.0);
    (10_f64.powf(low), 10_f64.powf(high))
}
