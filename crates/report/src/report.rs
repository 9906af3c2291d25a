//! A run, or a model, as one page.

use std::path::Path;

use fireclay::{Device, Loaded, Model, PredictError, Prediction, Provenance, Sounds, Task};
use fireclay_data::{Dataset, LoadOptions, RawRows, Targets, TrainTest, load};
use fireclay_measure::{EvaluateError, Evaluation, Options, Scores, WorstRow, evaluate, outputs};
use fireclay_terminal::message;
use train::disk::Disk;
use train::manifest::Manifest;
use train::place::whole_data_of_run;
use train::run_files::MODEL;
use train::verify::{self, Fault};

use crate::diagram::{self, DiagramLayer};
use crate::error::ReportError;
use crate::log::Log;
use crate::pictures::{self, Layout, Picture};
use crate::{page, plots, raster};

/// Everything that a page shows of a run or a model.
///
/// Of a run it is read from its folder: settings, measurements, manifest and model; the model is
/// then measured on the test rows. What is not there is left out, and the page says so.
#[derive(Debug)]
pub struct Report {
    pub(crate) title: String,
    pub(crate) model: Option<Described>,
    /// Name of the rows that were measured on.
    pub(crate) data: String,
    pub(crate) evaluation: Option<Evaluation>,
    /// The rows predicted wrong with the greatest loss.
    pub(crate) mistakes: Vec<Mistake>,
    /// The columns of a table that the model takes; none of other rows.
    pub(crate) columns: Vec<String>,
    /// True and predicted values of each target of a regression.
    pub(crate) fits: Vec<Fit>,
    pub(crate) log: Option<Log>,
    pub(crate) manifest: Option<Manifest>,
    /// The settings that the run was made with, as a file has them.
    pub(crate) settings: Option<String>,
    /// What could not be shown, and why.
    pub(crate) notes: Vec<String>,
}

/// What is shown of a model.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) task: Task,
    pub(crate) parameters: usize,
    pub(crate) layers: Vec<DiagramLayer>,
    /// The weights of the first layer, of rows that are pictures.
    pub(crate) weights: Option<Picture>,
    /// Units of the first layer.
    pub(crate) units: usize,
    /// Models of an ensemble of models, of which the layers are those of the first; or 1.
    pub(crate) models: usize,
    /// The features of recordings that rows are, if they are.
    pub(crate) sounds: Option<Sounds>,
    pub(crate) provenance: Provenance,
}

/// True and predicted values of a target.
#[derive(Debug)]
pub(crate) struct Fit {
    pub(crate) target: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Targets whose fit is drawn, and points of each: more would only hide each other.
const MOST_FITS: usize = 6;
const MOST_FIT_POINTS: usize = 1000;

/// A row predicted wrong, with its picture if it is one.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) row: WorstRow,
    pub(crate) picture: Option<Picture>,
    /// The cells of a row of a table, in the order of [`Report::columns`].
    pub(crate) cells: Vec<String>,
}

/// A plot of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// Its name, such as `loss`; good for a file.
    pub name: String,
    /// What it shows, in a few words.
    pub caption: String,
    /// The plot as an SVG document.
    pub svg: String,
}

impl Plot {
    /// The plot as a PNG, of twice as many pixels as the SVG has in each direction.
    ///
    /// # Errors
    ///
    /// [`ReportError::Plot`].
    pub fn png(&self) -> Result<Vec<u8>, ReportError> {
        raster::rasterized(&self.svg)
            .map_err(|reason| ReportError::Plot { name: self.name.clone(), reason })
    }
}

/// The numbers of a run that are drawn over its epochs, where it has them, with their captions.
pub(crate) const CURVES: [(&str, &str); 7] = [
    ("loss", "Loss"),
    ("accuracy", "Accuracy"),
    ("mae", "Mean absolute error"),
    ("rmse", "Root mean squared error"),
    ("r2", "R2"),
    ("median-error", "Median absolute error"),
    ("learning-rate", "Learning rate"),
];

/// Mistakes that are shown.
const MISTAKES: usize = 48;

impl Report {
    /// Reads the folder of a run, and measures its model on the test rows of its data.
    ///
    /// A run that is not finished, or whose data cannot be had, is reported as far as it goes.
    /// Data that is neither in the program nor in its cache is fetched.
    ///
    /// # Errors
    ///
    /// [`ReportError::Read`] for a folder without a manifest, [`ReportError::Log`] for
    /// measurements that are none, [`ReportError::Model`] for a damaged model.
    pub fn from_run(
        folder: &Path,
        device: &Device,
        options: &Options,
    ) -> Result<Self, ReportError> {
        Self::of_folder(folder, None, device, options)
    }

    /// As [`from_run`](Self::from_run), with the data in another place than the run found it at: a
    /// source such as `idx:FOLDER`.
    ///
    /// # Errors
    ///
    /// As for [`from_run`](Self::from_run), and [`ReportError::Data`] for data that cannot be read or
    /// is not what the run learned from.
    pub fn from_run_on(
        folder: &Path,
        data: &str,
        device: &Device,
        options: &Options,
    ) -> Result<Self, ReportError> {
        Self::of_folder(folder, Some(data), device, options)
    }

    fn of_folder(
        folder: &Path,
        data: Option<&str>,
        device: &Device,
        options: &Options,
    ) -> Result<Self, ReportError> {
        let checked = verify::folder(folder, &Disk::default());
        let (manifest, faults) = checked.map_err(ReportError::read(folder))?;
        let mut notes = Vec::new();
        for fault in faults {
            match fault {
                Fault::File { name, source } if name == MODEL => {
                    return Err(ReportError::Replaced(source));
                }
                fault => notes.push(format!("{fault}.")),
            }
        }
        // Those that the run was made with: its settings file may have been changed since.
        let settings = manifest.settings.to_file();
        let mut report = Self {
            title: name_of(folder),
            model: None,
            data: format!("{} (test)", manifest.settings.data.source),
            evaluation: None,
            mistakes: Vec::new(),
            columns: Vec::new(),
            fits: Vec::new(),
            log: Some(Log::load(folder)?),
            manifest: Some(manifest),
            settings: Some(settings),
            notes,
        };
        report.measure_run(folder, data, device, options)?;
        Ok(report)
    }

    /// Describes a model, measured on `data` if there is some, which `data_name` is the name of.
    ///
    /// # Errors
    ///
    /// [`ReportError::Evaluate`] for data that does not fit the model.
    pub fn from_model(
        title: &str,
        model: &Model,
        data: Option<(&str, &Dataset)>,
        options: &Options,
    ) -> Result<Self, ReportError> {
        let loaded = Loaded::of(model).map_err(EvaluateError::from)?;
        Self::of_model(title, described(model)?, &loaded, data, options)
    }

    /// As [`from_model`](Self::from_model), of a model that is ready to compute, such as an ensemble of
    /// models; its weights are not shown.
    ///
    /// # Errors
    ///
    /// As for [`from_model`](Self::from_model).
    pub fn from_loaded(
        title: &str,
        model: &Loaded,
        data: Option<(&str, &Dataset)>,
        options: &Options,
    ) -> Result<Self, ReportError> {
        Self::of_model(title, described_loaded(model), model, data, options)
    }

    fn of_model(
        title: &str,
        described: Described,
        model: &Loaded,
        data: Option<(&str, &Dataset)>,
        options: &Options,
    ) -> Result<Self, ReportError> {
        let mut report = Self {
            title: title.to_owned(),
            model: Some(described),
            data: data.map_or_else(String::new, |(name, _)| name.to_owned()),
            evaluation: None,
            mistakes: Vec::new(),
            columns: Vec::new(),
            fits: Vec::new(),
            log: None,
            manifest: None,
            settings: None,
            notes: Vec::new(),
        };
        match data {
            Some((_, data)) => report.measure(model, data, options)?,
            None => report.notes.push("The model was not measured: no data was given.".to_owned()),
        }
        Ok(report)
    }

    /// How good the model is, if it could be measured.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluation.as_ref()
    }

    /// What the page leaves out, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What was warned of before the first step of the run.
    pub fn warnings(&self) -> &[String] {
        self.manifest.as_ref().map_or(&[], |manifest| &manifest.warnings)
    }

    /// The page: HTML that needs no network, no other file and no script.
    ///
    /// # Errors
    ///
    /// [`ReportError::Plot`].
    pub fn html(&self) -> Result<String, ReportError> {
        Ok(page::html(self, &self.plots()?))
    }

    /// The plots alone, in the colours of a bright page.
    ///
    /// # Errors
    ///
    /// [`ReportError::Plot`].
    pub fn plots(&self) -> Result<Vec<Plot>, ReportError> {
        let mut all = Vec::new();
        for (name, caption) in CURVES {
            let curves = self.log.as_ref().map(|log| log.curves(name)).unwrap_or_default();
            if !curves.steps.is_empty() || !curves.training.is_empty() {
                all.push(plot(name, caption, plots::curves(name, &curves))?);
            }
        }
        match self.evaluation.as_ref().map(|evaluation| &evaluation.scores) {
            Some(Scores::Classification(scores)) => {
                let labels: Vec<String> =
                    scores.classes.iter().map(|class| class.label.clone()).collect();
                if labels.len() <= plots::MOST_CONFUSED {
                    let svg = plots::confusion(&labels, &scores.confusion);
                    all.push(plot("confusion", "Confusion matrix", svg)?);
                }
                let bars = plots::class_bars(&scores.classes);
                all.push(plot("classes", "F1 of each class", bars)?);
                let reliability = plots::reliability(&scores.calibration);
                all.push(plot("reliability", "Reliability", reliability)?);
            }
            Some(Scores::MultiLabel(scores)) => {
                let bars = plots::class_bars(&scores.labels);
                all.push(plot("classes", "F1 of each label", bars)?);
                let reliability = plots::reliability(&scores.calibration);
                all.push(plot("reliability", "Reliability", reliability)?);
            }
            Some(Scores::Regression(_)) => {
                for (place, fit) in (1..).zip(&self.fits) {
                    let caption = format!("Predicted against true {}", fit.target);
                    all.push(plot(&format!("fit-{place}"), &caption, plots::fit(&fit.points))?);
                }
            }
            None => {}
        }
        Ok(all)
    }

    fn measure_run(
        &mut self,
        folder: &Path,
        told: Option<&str>,
        device: &Device,
        options: &Options,
    ) -> Result<(), ReportError> {
        let Some(manifest) = &self.manifest else { return Ok(()) };
        let path = folder.join(MODEL);
        if !path.exists() {
            // Of a finished run it is missing, which has been noted.
            if manifest.result.is_none() {
                self.notes.push("The run has no model yet: it is not finished.".to_owned());
            }
            return Ok(());
        }
        let model = Model::load(&path, device)?;
        self.model = Some(described(&model)?);
        let test = match test_rows(manifest, folder, &model, told) {
            Ok(test) => test,
            Err(reason) if told.is_some() => return Err(ReportError::Data { reason }),
            Err(reason) => {
                self.notes.push(format!("The model was not measured on the test rows: {reason}."));
                return Ok(());
            }
        };
        if let Some(warning) = train::warnings::of_scale(model.input.preprocessing(), &test) {
            self.notes.push(format!("The test rows: {warning}."));
        }
        let loaded = Loaded::of(&model).map_err(EvaluateError::from)?;
        if let Err(error) = self.measure(&loaded, &test, options) {
            let reason = message(&error);
            self.notes.push(format!("The model was not measured on the test rows: {reason}."));
        }
        Ok(())
    }

    fn measure(
        &mut self,
        model: &Loaded,
        data: &Dataset,
        options: &Options,
    ) -> Result<(), ReportError> {
        let many = Options { worst: options.worst.max(MISTAKES), ..options.clone() };
        let mut evaluation = evaluate(model, data, &many)?;
        let layout = Layout::of_input(&model.description().input, data.shape());
        let is_regression = matches!(evaluation.scores, Scores::Regression(_));
        self.mistakes = evaluation
            .worst
            .iter()
            .filter(|row| !row.is_right || is_regression)
            .take(MISTAKES)
            .map(|row| Mistake {
                row: row.clone(),
                cells: Vec::new(),
                picture: layout.map(|layout| pictures::row(data, layout, row.row)),
            })
            .collect();
        let rows: Vec<usize> = self.mistakes.iter().map(|mistake| mistake.row.row).collect();
        let raw = data.raw_rows(&rows);
        let raw = raw.map_err(|error| ReportError::Data { reason: message(&error) })?;
        if let Some(RawRows { columns, cells }) = raw {
            self.columns = columns;
            self.mistakes.iter_mut().zip(cells).for_each(|(mistake, cells)| mistake.cells = cells);
        }
        if let Targets::Values { values, names } = data.targets() {
            let outputs = outputs(model, data, options.batch_size)?;
            self.fits = fits(names, values, model.description().task.predictions(outputs));
        }
        evaluation.worst.truncate(options.worst);
        self.evaluation = Some(evaluation);
        Ok(())
    }
}

/// The values of each target beside those that the model predicts, of rows at equal distances.
/// A plot that was drawn.
fn plot(name: &str, caption: &str, svg: Result<String, String>) -> Result<Plot, ReportError> {
    let svg = svg.map_err(|reason| ReportError::Plot { name: name.to_owned(), reason })?;
    Ok(Plot { name: name.to_owned(), caption: caption.to_owned(), svg })
}

fn fits(names: &[String], values: &[f32], predictions: Vec<Prediction>) -> Vec<Fit> {
    let step = predictions.len().div_ceil(MOST_FIT_POINTS).max(1);
    let mut fits: Vec<Fit> = Vec::new();
    for target in names.iter().take(MOST_FITS) {
        fits.push(Fit { target: target.clone(), points: Vec::new() });
    }
    let rows = values.chunks_exact(names.len()).zip(predictions).step_by(step);
    for (truth, prediction) in rows {
        let Prediction::Values { values, .. } = prediction else { continue };
        for ((fit, &truth), &predicted) in fits.iter_mut().zip(truth).zip(&values) {
            fit.points.push((f64::from(truth), f64::from(predicted)));
        }
    }
    fits
}

/// The test rows of a run's data, or why they cannot be had.
fn test_rows(
    manifest: &Manifest,
    folder: &Path,
    model: &Model,
    told: Option<&str>,
) -> Result<Dataset, String> {
    let data = whole_data_of_run(manifest, folder, &model.description(), told, &|source| {
        load(source, &LoadOptions::default(), &mut |_| {})
    });
    let TrainTest { test, table, .. } = data.map_err(|error| message(&error))?;
    let classes = &manifest.settings.data.classes;
    // Of a table, other rows were left out when it was read.
    if classes.is_empty() || table.is_some() {
        return Ok(test);
    }
    test.only_classes(classes).map_err(|error| message(&error))
}

/// What is shown of a model without its weights; of an ensemble of models the layers of the first.
fn described_loaded(model: &Loaded) -> Described {
    let models = model.models();
    let (network, task) = (&models[0].architecture, &model.description().task);
    Described {
        task: task.clone(),
        parameters: models.iter().map(|model| model.architecture.parameters()).sum(),
        layers: diagram::layers(network, task),
        weights: None,
        units: network.sizes(0)[1],
        models: models.len(),
        sounds: model.description().input.sounds(),
        provenance: model.description().provenance.clone(),
    }
}

fn described(model: &Model) -> Result<Described, ReportError> {
    let network = model.mlp.architecture();
    let tensors = model.mlp.tensors().map_err(PredictError::from).map_err(EvaluateError::from)?;
    let first = tensors.into_iter().next();
    // Behind a front stage weights are of no pixel.
    let layout =
        Layout::of_input(&model.input, &network.input_shape).filter(|_| network.front.is_empty());
    let weights =
        layout.zip(first).and_then(|(layout, first)| pictures::weights(&first.values, layout));
    Ok(Described {
        task: model.task.clone(),
        parameters: network.parameters(),
        layers: diagram::layers(network, &model.task),
        weights,
        units: network.sizes(0)[1],
        models: 1,
        sounds: model.input.sounds(),
        provenance: model.provenance.clone(),
    })
}

/// The name of a run: that of its folder.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}
