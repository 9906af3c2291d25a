//! The page of a report.
//!
//! Everything that comes from outside, names above all, gets into it as text by way of templates
//! that escape; plots are the only markup that is inserted, and their library escapes too. A policy
//! in the page's head forbids scripts and the network all the same.

use fireclay::Task;
use fireclay_measure::{
    ClassScores, Classification, Estimate, Evaluation, Measure, MultiLabel, Regression, Scores,
};
use fireclay_terminal::{counted, duration};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use train::manifest::{Manifest, Session};

use crate::diagram::grouped;
use crate::pictures::UNITS;
use crate::plots::{MOST_BARS, MOST_CONFUSED};
use crate::report::{CURVES, Described, Mistake, Plot, Report};

const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
const STYLE: &str = include_str!("page.css");

/// A section: its name in the address, its heading, and what is in it.
struct Section {
    id: &'static str,
    heading: &'static str,
    body: Markup,
}

/// The whole page.
pub(crate) fn html(report: &Report, plots: &[Plot]) -> String {
    let sections = sections(report, plots);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                title { (report.title) " - Fireclay" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (report.title) }
                p.soft { (subtitle(report)) }
                nav { @for section in &sections { a href={ "#" (section.id) } { (section.heading) } " " } }
                @for note in &report.notes { p.note { (note) } }
                @for warning in report.warnings() { p.note { "Warning before the first step: " (warning) } }
                (cards(report))
                main {
                    @for section in &sections {
                        section id=(section.id) { h2 { (section.heading) } (section.body) }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// The sections that there is something to show in.
fn sections(report: &Report, plots: &[Plot]) -> Vec<Section> {
    let mut all = Vec::new();
    all.extend(section("curves", "Training", curves(plots)));
    if let Some(evaluation) = &report.evaluation {
        all.extend(section("evaluation", "Evaluation", measures(report, evaluation)));
        match &evaluation.scores {
            Scores::Classification(scores) => {
                all.extend(section("confusion", "Confusions", confusion(scores, plots)));
                let body = classes("class", &scores.classes, plots);
                all.extend(section("classes", "Classes", body));
            }
            Scores::MultiLabel(scores) => {
                let body = classes("label", &scores.labels, plots);
                all.extend(section("classes", "Labels", body));
            }
            Scores::Regression(scores) => {
                all.extend(section("targets", "Targets", targets(scores, plots)));
            }
        }
        all.extend(section("calibration", "Calibration", calibration(&evaluation.scores, plots)));
        all.extend(section("mistakes", "Worst mistakes", mistakes(report)));
    }
    if let Some(model) = &report.model {
        all.extend(section("architecture", "Architecture", architecture(model)));
        all.extend(section("weights", "First-layer weights", weights(model)));
    }
    let timings = report.manifest.as_ref().map(|manifest| timings(manifest, report));
    all.extend(section("timings", "Timings", timings));
    let settings = report.settings.as_ref().map(|text| html! { pre { (text) } });
    all.extend(section("settings", "Settings", settings));
    all.extend(section("origin", "Origin", origin(report)));
    all
}

/// A section, unless there is nothing to show in it.
fn section(
    id: &'static str,
    heading: &'static str,
    body: impl Into<Option<Markup>>,
) -> Option<Section> {
    Some(Section { id, heading, body: body.into()? })
}

fn subtitle(report: &Report) -> String {
    let mut parts = Vec::new();
    if let Some(model) = &report.model {
        let kind = match &model.task {
            Task::Classification { labels, .. } => counted(labels.len() as u64, "class"),
            Task::MultiLabel { labels, .. } => counted(labels.len() as u64, "label"),
            Task::Regression { targets, .. } => counted(targets.len() as u64, "regression target"),
        };
        parts.push(kind);
    }
    if let Some(manifest) = &report.manifest {
        let data = &manifest.data;
        parts.push(format!(
            "{}: {} training, {} validation and {} test samples",
            data.source,
            grouped(data.training),
            grouped(data.validation),
            grouped(data.test)
        ));
        let date = manifest.sessions.first().and_then(|session| session.started.get(..10));
        parts.extend(date.map(str::to_owned));
    } else if !report.data.is_empty() {
        parts.push(format!("measured on {}", report.data));
    }
    parts.join(" · ")
}

/// A number as people read it: shares in percent.
fn number(value: f64, is_share: bool) -> String {
    match (is_share, value.abs()) {
        (true, _) => format!("{:.2} %", 100.0 * value),
        (false, size) if size == 0.0 || (1e-3..1e6).contains(&size) => format!("{value:.4}"),
        (false, _) => format!("{value:.3e}"),
    }
}

fn interval(estimate: &Estimate, is_share: bool) -> String {
    let [low, high] = [estimate.low, estimate.high].map(|end| number(end, is_share));
    format!("{} to {high}", low.trim_end_matches(" %"))
}

fn cards(report: &Report) -> Markup {
    let measures = report.evaluation.as_ref().map(Evaluation::measures).unwrap_or_default();
    html! {
        div.cards {
            @for measure in measures.iter().take(2) {
                div {
                    span { @if report.manifest.is_some() { "test " } (measure.name) }
                    b { (number(measure.estimate.value, measure.is_share)) }
                    span { "95 %: " (interval(&measure.estimate, measure.is_share)) }
                }
            }
            @if let Some(model) = &report.model {
                div {
                    span { "parameters" }
                    b { (grouped(model.parameters)) }
                    span { (counted(model.layers.len() as u64 - 1, "layer")) }
                }
            }
            @if let Some(time) = report.manifest.as_ref().and_then(total_time) {
                div {
                    span { "time" }
                    b { (duration(time)) }
                    span { (host(report.manifest.as_ref())) }
                }
            }
        }
    }
}

fn host(manifest: Option<&Manifest>) -> String {
    manifest
        .and_then(|m| m.sessions.last())
        .map_or_else(String::new, |session| session.backend.clone())
}

fn plot(plots: &[Plot], name: &str, more: &Markup) -> Option<Markup> {
    let plot = plots.iter().find(|plot| plot.name == name)?;
    let label = html! { (plot.caption) }.into_string();
    let svg = plot.svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
    Some(html! {
        figure { figcaption { b { (plot.caption) } (more) } (PreEscaped(svg)) }
    })
}

fn key(colour: &str, text: &str) -> Markup {
    html! { span.key style={ "background: var(--" (colour) ")" } {} (text) }
}

fn curves(plots: &[Plot]) -> Option<Markup> {
    let shown: Vec<Markup> =
        CURVES.iter().filter_map(|(name, _)| plot(plots, name, &html! {})).collect();
    (!shown.is_empty()).then(|| {
        html! {
            div.plots { @for figure in &shown { (figure) } }
            p.soft { "Pale: running training loss. Dark: mean over each epoch. Values off the scale are drawn at the edge." }
        }
    })
}

fn measures(report: &Report, evaluation: &Evaluation) -> Markup {
    let is_scaled = report.model.as_ref().is_some_and(|model| model.task.scaling().is_some());
    html! {
        p.soft {
            "On " (counted(evaluation.rows as u64, "row")) " of " (report.data)
            ". 95 % confidence intervals, treating these rows as a sample."
            @if is_scaled { " The loss is that of standardized targets; other metrics use the target's unit." }
        }
        div.scroll { table {
            tr { th { "metric" } th.n { "value" } th.n { "95 % interval" } th { "by" } }
            @for Measure { name, estimate, is_share, .. } in &evaluation.measures() {
                tr {
                    td { (name) }
                    td.n { (number(estimate.value, *is_share)) }
                    td.n { (interval(estimate, *is_share)) }
                    td { (estimate.interval.name()) }
                }
            }
        } }
    }
}

/// Confusions that are listed.
const LISTED: usize = 10;

fn confusion(scores: &Classification, plots: &[Plot]) -> Markup {
    let classes = scores.classes.len();
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (i, row) in scores.confusion.iter().enumerate() {
        let wrong = row.iter().enumerate().filter(|&(j, &count)| j != i && count > 0);
        pairs.extend(wrong.map(|(j, &count)| (count, i, j)));
    }
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    pairs.truncate(LISTED);
    let has_names = scores.classes.iter().any(|class| class.label.chars().count() > 4);
    html! {
        @if classes > MOST_CONFUSED {
            p.soft { "The confusion matrix is omitted: " (grouped(classes)) " classes do not fit the page." }
        }
        div.plots {
            @if let Some(figure) = plot(plots, "confusion", &html! { ": blue is correct, orange is wrong" }) {
                // Long names leave a phone too little room for the cells.
                div.wide[has_names] { (figure) }
            }
            @if pairs.is_empty() {
                p { @if scores.confusion.is_empty() { "Not computed: more than 1,000 classes." } @else { "No confusions." } }
            } @else {
                div.scroll { table {
                    tr { th { "true" } th { "predicted" } th.n { "rows" } th.n { "of the class" } }
                    @for (count, i, j) in pairs {
                        tr {
                            td.l { (scores.classes[i].label) } td.l { (scores.classes[j].label) } td.n { (grouped(count)) }
                            td.n { (number(count as f64 / scores.classes[i].support as f64, true)) }
                        }
                    }
                } }
            }
        }
    }
}

/// Classes that have a line in the table: of more, those with the least F1.
const MOST_LISTED: usize = 200;

fn classes(what: &str, classes: &[ClassScores], plots: &[Plot]) -> Markup {
    let mut listed: Vec<&ClassScores> = classes.iter().collect();
    if listed.len() > MOST_LISTED {
        listed.sort_by(|a, b| a.f1.value.total_cmp(&b.f1.value));
        listed.truncate(MOST_LISTED);
    }
    let seen = classes.iter().filter(|class| class.support + class.predicted > 0).count();
    let more = html! {
        " with its 95 % interval; the axis may not begin at 0"
        @if seen > MOST_BARS { ". The lowest " (MOST_BARS) " of " (seen) }
    };
    html! {
        @if listed.len() < classes.len() {
            p.soft { "The table shows the " (listed.len()) " lowest F1 scores of " (grouped(classes.len())) "." }
        }
        div.plots {
            @if let Some(figure) = plot(plots, "classes", &more) { (figure) }
            div.scroll { table {
                tr { th { (what) } th.n { "precision" } th.n { "recall" } th.n { "F1" } th.n { "support" } }
                @for class in &listed {
                    tr {
                        td.l { (class.label) }
                        (score(&class.precision, class.predicted))
                        (score(&class.recall, class.support))
                        (score(&class.f1, class.support + class.predicted))
                        td.n { (grouped(class.support)) }
                    }
                }
            } }
        }
    }
}

/// A cell with a score; of no rows, it is nothing and not 0.
fn score(estimate: &Estimate, rows: usize) -> Markup {
    html! {
        @if rows == 0 { td.n { "-" } }
        @else { td.n title={ "95 %: " (interval(estimate, true)) } { (number(estimate.value, true)) } }
    }
}

fn targets(scores: &Regression, plots: &[Plot]) -> Markup {
    let of_fits = plots.iter().filter(|plot| plot.name.starts_with("fit-"));
    let fits: Vec<Markup> = of_fits.filter_map(|fit| plot(plots, &fit.name, &html! {})).collect();
    html! {
        div.plots { @for fit in &fits { (fit) } }
        div.scroll { table {
            tr { th { "target" } th.n { "R2" } th.n { "RMSE" } th.n { "MAE" } th.n { "median error" } }
            @for target in &scores.targets {
                tr {
                    td.l { (target.name) }
                    @for estimate in [&target.r2, &target.rmse, &target.mae, &target.median_error] {
                        td.n title={ "95 %: " (interval(estimate, false)) } { (number(estimate.value, false)) }
                    }
                }
            }
        } }
    }
}

fn calibration(scores: &Scores, plots: &[Plot]) -> Option<Markup> {
    let (Scores::Classification(Classification { calibration, .. })
    | Scores::MultiLabel(MultiLabel { calibration, .. })) = scores
    else {
        return None;
    };
    Some(html! {
        p {
            "Expected calibration error " (number(calibration.error.value, true))
            " (95 %: " (interval(&calibration.error, true)) "), over 15 bins of equal width. "
            "A bar below the diagonal means that the model is overconfident."
        }
        div.plots {
            @if let Some(figure) = plot(plots, "reliability", &html! {}) { (figure) }
            div.scroll { table {
                tr { th { "confidence" } th.n { "predictions" } th.n { "mean confidence" } th.n { "accuracy" } }
                @for bin in calibration.bins.iter().filter(|bin| bin.predictions > 0) {
                    tr {
                        td { (format!("{:.3} to {:.3}", bin.low, bin.high)) }
                        td.n { (grouped(bin.predictions)) }
                        td.n { (number(bin.confidence, true)) }
                        td.n { (number(bin.accuracy, true)) }
                    }
                }
            } }
        }
    })
}

fn mistakes(report: &Report) -> Option<Markup> {
    let Report { mistakes, model, columns, .. } = report;
    if mistakes.is_empty() {
        return None;
    }
    // A number is never quite right.
    let is_number = matches!(model, Some(model) if matches!(model.task, Task::Regression { .. }));
    let among = if is_number { "" } else { " among wrong predictions" };
    let have_pictures = mistakes.iter().all(|mistake| mistake.picture.is_some());
    Some(html! {
        p.soft {
            "The rows with the largest loss" (among) ", worst first. Row numbers start at 0."
            @if matches!(model, Some(model) if model.sounds.is_some()) {
                " In a spectrogram, time runs to the right and frequency upwards; bright is loud."
            }
        }
        @if have_pictures {
            div.mistakes { @for mistake in mistakes { (mistake_with_picture(mistake)) } }
        } @else {
            div.scroll { table {
                tr { th.n { "row" } th { "truth" } th { "predicted" } th.n { "loss" }
                    @for column in columns { th { (column) } }
                }
                @for Mistake { row, cells, .. } in mistakes {
                    tr {
                        td.n { (row.row) } td.l { (row.truth) } td.l { (row.predicted) }
                        td.n { (number(row.loss, false)) }
                        @for cell in cells { td.l { (cell) } }
                    }
                }
            } }
        }
    })
}

fn mistake_with_picture(Mistake { row, picture, .. }: &Mistake) -> Markup {
    html! {
        figure {
            @if let Some(picture) = picture {
                img src=(picture.data_uri()) width=(picture.width) height=(picture.height)
                    alt={ "row " (row.row) ", " (row.truth) };
            }
            (row.truth) ", predicted as " b { (row.predicted) }
            div.soft {
                @if let Some(probability) = row.probability { (format!("{:.1} % · ", 100.0 * probability)) }
                "#" (row.row)
            }
        }
    }
}

fn architecture(model: &Described) -> Markup {
    html! {
        div.layers {
            @for (i, layer) in model.layers.iter().enumerate() {
                @if i > 0 { i {} }
                div {
                    span { (layer.name) }
                    b { (layer.size) }
                    @if !layer.parts.is_empty() { span { (layer.parts.join(" · ")) } }
                    @if layer.parameters > 0 { span { (grouped(layer.parameters)) " parameters" } }
                }
            }
        }
        p.soft { (grouped(model.parameters)) " parameters in total." }
        @if model.models > 1 {
            p.soft { "An ensemble of " (model.models) " models; these are the layers of the first." }
        }
    }
}

fn weights(model: &Described) -> Option<Markup> {
    let picture = model.weights.as_ref()?;
    let shown = model.units.min(UNITS);
    Some(html! {
        p.soft {
            "Weights of "
            @if shown < model.units { "the first " (shown) " of " }
            (model.units) " units of the first layer: "
            (key("orange", "positive")) (key("blue", "negative")) "; transparent is 0."
        }
        img.weights src=(picture.data_uri()) width=(picture.width) height=(picture.height)
            alt="weights of the first layer, a square for each unit";
    })
}

/// How many seconds a session took, if it is known.
fn session_time(session: &Session) -> Option<f64> {
    let ended = humantime::parse_rfc3339(&session.ended.as_ref()?.at).ok()?;
    let started = humantime::parse_rfc3339(&session.started).ok()?;
    Some(ended.duration_since(started).ok()?.as_secs_f64())
}

/// The seconds of all sessions, if those of each are known.
fn total_time(manifest: &Manifest) -> Option<f64> {
    manifest.sessions.iter().map(session_time).sum()
}

fn timings(manifest: &Manifest, report: &Report) -> Markup {
    let steps = report.log.as_ref().map_or(0, crate::log::Log::last_step);
    let per_second = total_time(manifest)
        .filter(|&time| time > 0.0 && manifest.result.is_some())
        .map(|time| steps as f64 / time);
    html! {
        div.scroll { table {
            tr { th { "started (UTC)" } th.n { "time" } th.n { "from step" } th { "backend" } th { "ended" } }
            @for session in &manifest.sessions {
                tr {
                    td { (to_the_second(&session.started)) }
                    td.n { (duration(session_time(session).unwrap_or(f64::NAN))) }
                    td.n { (grouped(session.from_step as usize)) }
                    td.l { (session.backend) }
                    td { (session.ended.as_ref().map_or("killed, or still running", |end| &end.reason)) }
                }
                @for back in &session.rollbacks {
                    tr { td.l colspan="5" { (back.reason) "; returned to step " (back.to_step) " with the learning rate times " (back.rate_factor) } }
                }
            }
        } }
        p.soft {
            (grouped(steps as usize)) " steps"
            @if let Some(speed) = per_second { ", " (grouped(speed.round() as usize)) " per second, including loading, validation, checkpoints and the test" }
            "."
        }
    }
}

/// A time of a manifest, such as `2026-11-26T07:35:57.438Z`, as people write it.
fn to_the_second(time: &str) -> String {
    time.split('.').next().unwrap_or(time).replacen('T', " ", 1)
}

/// Where the model comes from: program, machine, data, parents.
fn origin(report: &Report) -> Option<Markup> {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(manifest) = &report.manifest {
        manifest_rows(manifest, &mut rows);
    }
    if let Some(model) = &report.model {
        let provenance = &model.provenance;
        rows.push(("model written by", provenance.program.clone()));
        rows.extend(provenance.data.clone().map(|data| ("trained on", data)));
        rows.extend(provenance.parent.clone().map(|parent| ("fine-tuned from", parent)));
        for ancestor in &provenance.ancestors {
            let data = ancestor.data.as_deref().unwrap_or("unknown data");
            rows.push(("ancestor", format!("{} ({}, {data})", ancestor.digest, ancestor.program)));
        }
    }
    rows.retain(|(_, value)| !value.is_empty());
    (!rows.is_empty()).then(|| {
        html! {
            div.scroll { table {
                @for (name, value) in rows { tr { th { (name) } td.l { code { (value) } } } }
            } }
        }
    })
}

fn manifest_rows(manifest: &Manifest, rows: &mut Vec<(&str, String)>) {
    if let Some(session) = manifest.sessions.last() {
        let program = &session.program;
        rows.push(("command", session.command.join(" ")));
        rows.push(("program", format!("fireclay {}, Burn {}", program.fireclay, program.burn)));
        let build = if program.release { "release" } else { "dev" };
        rows.push(("build", format!("{}, {build}, {}", program.rustc, program.backends.join(" "))));
        rows.extend(program.commit.clone().map(|commit| ("commit", commit)));
        let cpu = session.host.cpu.as_deref().unwrap_or("unknown processor");
        let cores = counted(session.host.cores as u64, "core");
        rows.push(("machine", format!("{}, {cpu}, {cores}", session.host.platform)));
    }
    rows.push(("data", manifest.data.digest.clone()));
    if let Some(result) = &manifest.result {
        rows.push(("model", result.model.clone()));
        rows.push(("kept epoch", result.epoch.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {}

    #[test]
    fn numbers_are_short() {
        for (value, is_share, text) in
            [(0.9742, true, "97.42 %"), (0.08768, false, "0.0877"), (3e-7, false, "3.000e-7")]
        {
            assert_eq!(number(value, is_share), text);
        }
    }
}
