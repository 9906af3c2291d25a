//! Warnings before the first step, of what settings and data together make likely to go wrong.
//!
//! Everything here can be trained, so nothing here is an error. The default run has no warning,
//! nor have the recipes on their own data.

use fireclay::{Activation, CrossEntropy, Loss, MlpConfig, Norm, Preprocessing, UnlikelyBytes};
use fireclay_data::{Dataset, Features, Split, Targets};
use fireclay_terminal::{counted, group, quoted};

use crate::job::Job;
use crate::optimizer::OptimizerConfig;
use crate::settings::TrainingSettings;

/// Something that is likely not what was wanted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Warning {
    /// Every batch of a batch norm has one row, from which it subtracts itself.
    #[error(
        "each batch has 1 of {} training rows, and batch normalization subtracts the batch mean: the \
         layers below the output learn nothing; use --batch-size 2 or more, or --norm layer",
        group(*.rows as u64)
    )]
    BatchNormOfOneRow {
        /// Training rows.
        rows: usize,
    },
    /// The last batch of each epoch has one row.
    #[error(
        "the last batch of each epoch has 1 row ({} rows in batches of {batch_size}), which batch \
         normalization turns into zeros; add --drop-last, or change --batch-size",
        group(*.rows as u64)
    )]
    BatchNormOfLastRow {
        /// Training rows.
        rows: usize,
        /// Rows of all other batches.
        batch_size: usize,
    },
    /// A layer norm over one unit subtracts it from itself.
    #[error(
        "hidden layer {layer} has 1 unit, which layer normalization turns into zero; make the layer \
         wider, or leave out --norm"
    )]
    LayerNormOfOneUnit {
        /// The hidden layer, from 0.
        layer: usize,
    },
    /// All training rows have the same class.
    #[error("all training rows have class {}, so there is nothing to tell apart", quoted(.label))]
    OneClass {
        /// Its label.
        label: String,
    },
    /// Classes of which no row is trained on.
    #[error(
        "no training row has class {}: the network {}",
        listed(.labels),
        if *.is_tuned { "forgets what it knew of it" } else { "cannot learn it" }
    )]
    ClassesWithoutRows {
        /// Their labels.
        labels: Vec<String>,
        /// Whether the network was there before, and may know them.
        is_tuned: bool,
    },
    /// All validation rows have the same class, and there are others.
    #[error(
        "all validation rows have class {}, so validation says nothing about the others; add \
         --stratified",
        quoted(.label)
    )]
    ValidationOfOneClass {
        /// Its label.
        label: String,
    },
    /// There are fewer validation rows than classes.
    #[error(
        "the validation split has fewer rows ({rows}) than there are classes ({classes}), too few to \
         choose by; use a larger --validation, or --validation 0"
    )]
    FewValidationRows {
        /// Validation rows.
        rows: usize,
        /// Classes.
        classes: usize,
    },
    /// A few validation rows choose the epoch whose weights become the model.
    #[error(
        "{} choose the epoch of the model, too few to choose by; use --folds 5 to choose a number of \
         --epochs, and train with --validation 0, --patience none and --keep last",
        counted(*.rows as u64, "validation row")
    )]
    FewRowsToChooseBy {
        /// Validation rows.
        rows: usize,
    },
    /// A target that is the same in every training row.
    #[error("all training rows have the same value of {}, so there is nothing to learn", listed(.names))]
    ConstantTargets {
        /// Their names.
        names: Vec<String>,
    },
    /// All training rows have the same features.
    #[error("all training rows have the same features, so there is nothing to learn from them")]
    EqualRows,
    /// Features that do not look like the bytes that the preprocessing divides by 255.
    #[error(transparent)]
    UnlikelyBytes(#[from] UnlikelyBytes),
    /// Features of many units that nothing scales.
    #[error(
        "the features range from {least} to {most}, and --preprocessing none leaves them so: \
         networks learn badly from such numbers; use {better}"
    )]
    NotScaled {
        /// The smallest feature.
        least: f32,
        /// The largest.
        most: f32,
        /// The preprocessing that fits them.
        better: &'static str,
    },
    /// Test rows that are trained on.
    #[error(
        "the test split shares {} of {} with the training split, by their features: the test measures \
         say less of new rows",
        counted(*.rows as u64, "row"),
        group(*.of as u64)
    )]
    TestRowsTrainedOn {
        /// Test rows with the features of a training row.
        rows: usize,
        /// Test rows.
        of: usize,
    },
    /// A learning rate beyond any that is of use.
    #[error(
        "the learning rate is {rate:?}, and a step of {optimizer} is then far larger than any \
         weight; usual rates are {usual}"
    )]
    LargeRate {
        /// The rate.
        rate: f64,
        /// The optimizer.
        optimizer: &'static str,
        /// Rates that are of use.
        usual: &'static str,
    },
    /// A setting with which weights hardly move.
    #[error("{setting} is {value:?}: {why}, so the weights hardly move")]
    HardlyMoves {
        /// The flag.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What it does.
        why: &'static str,
    },
    /// More steps than a machine does in weeks.
    #[error(
        "the run has {} steps: at 10,000 steps a second it takes {} days; use fewer --epochs",
        group(*.steps),
        group(*.steps / STEPS_OF_A_DAY)
    )]
    ManySteps {
        /// Steps of the run.
        steps: u64,
    },
    /// Settings of hidden layers, and there are none.
    #[error("the network has no hidden layers, so {} changes nothing", .flags.join(" and "))]
    NoHiddenLayers {
        /// The flags that set them.
        flags: Vec<&'static str>,
    },
    /// No hidden layer is as wide as its input.
    #[error("no hidden layer is as wide as its input, so --residual changes nothing")]
    NoResidual,
    /// A batch that was asked for is larger than an epoch.
    #[error(
        "batches of {} rows are larger than the training split of {}, so each epoch is one step",
        group(*.batch_size as u64),
        group(*.rows as u64)
    )]
    LargeBatch {
        /// Training rows.
        rows: usize,
        /// Rows of a batch.
        batch_size: usize,
    },
    /// Smoothing gives a share to other classes, and there are none.
    #[error("there is one class, so label smoothing changes nothing")]
    SmoothingOfOneClass,
    /// Weights of classes of which no row is trained on.
    #[error("loss.class_weights has a weight for class {}, which no training row has", listed(.labels))]
    WeightsWithoutRows {
        /// Their labels.
        labels: Vec<String>,
    },
}

/// Steps of a fast machine in a day.
const STEPS_OF_A_DAY: u64 = 10_000 * 24 * 60 * 60;

/// What is to be said of a run before its first step; `model` is the network that it trains, and
/// `test` are the rows that it is measured on in the end.
pub fn of(job: &Job<'_>, model: &MlpConfig, test: &Dataset) -> Vec<Warning> {
    let Job { split, loss, training, preprocessing, .. } = job;
    let data = job.data();
    let mut found = Vec::new();
    found.extend(of_norms(job, model));
    found.extend(of_hidden_layers(model, job.tuned.is_some()));
    found.extend(of_targets(data, split, job.tuned.is_some()));
    found.extend(of_choice(training, split.validation.len()));
    found.extend(of_loss(data, &split.train, loss));
    let first = split.train.first();
    let are_equal = first.is_some_and(|&first| {
        split.train.len() > 1 && split.train.iter().all(|&row| is_equal(data, first, row))
    });
    if are_equal {
        found.push(Warning::EqualRows);
    } else {
        found.extend(of_scale(preprocessing, data));
        // Norms bring their inputs near zero; what a model of before expects, nobody knows here.
        let is_raw = job.tuned.is_none() && model.norm == Norm::None && data.input().is_none();
        found.extend(of_raw(preprocessing, data).filter(|_| is_raw));
    }
    found.extend(of_rate(job.optimizer));
    found.extend(of_movement(job, model));
    found.extend(of_length(job));
    // The doubts about a table tell of its rows.
    if data.input().is_none() {
        found.extend(of_test_rows(data, &split.train, test));
    }
    let (rows, batch_size) = (split.train.len(), training.batch_size);
    // The default is no wish.
    if batch_size > rows && batch_size != TrainingSettings::default().batch_size {
        found.push(Warning::LargeBatch { rows, batch_size });
    }
    found
}

/// Whether features are divided by 255 that do not look like bytes.
pub fn of_scale(preprocessing: &Preprocessing, data: &Dataset) -> Option<Warning> {
    if !preprocessing.divides_by_255() {
        return None;
    }
    let (least, most) = match data.features() {
        // Most pictures have a bright pixel in their first rows.
        Features::Bytes(bytes) => (0.0, bytes.iter().find(|&&b| b > 1).map_or(1.0, |_| 2.0)),
        Features::Floats(floats) => range(floats),
        Features::Blocks(_) => return None,
    };
    preprocessing.unlikely_bytes(least, most).map(Warning::from)
}

/// Whether features are far from zero and nothing brings them near.
fn of_raw(preprocessing: &Preprocessing, data: &Dataset) -> Option<Warning> {
    /// Magnitudes that initial weights and usual rates are made for are a tenth of this.
    const MOST: f32 = 30.0;
    if *preprocessing != Preprocessing::None {
        return None;
    }
    let (least, most, better) = match data.features() {
        Features::Bytes(bytes) => (0.0, f32::from(bytes.iter().copied().max()?), "scale"),
        Features::Floats(floats) => {
            let (least, most) = range(floats);
            (least, most, "standardize")
        }
        Features::Blocks(_) => return None,
    };
    (most.max(-least) > MOST).then_some(Warning::NotScaled { least, most, better })
}

/// Settings that leave weights where they are.
fn of_movement(job: &Job<'_>, model: &MlpConfig) -> Vec<Warning> {
    let warmup = job.schedule.warmup_epochs();
    let settings = [
        (
            "--lr",
            Some(job.optimizer.learning_rate()).filter(|rate| *rate < 1e-9),
            "single precision rounds such steps away",
        ),
        (
            "--clip-norm",
            job.training.clip_norm.filter(|norm| *norm < 1e-6),
            "gradients are cut to nearly nothing",
        ),
        (
            "--dropout",
            Some(model.dropout).filter(|rate| *rate > 0.95),
            "nearly every unit of a hidden layer is dropped",
        ),
        (
            "--input-dropout",
            Some(model.input_dropout).filter(|rate| *rate > 0.95),
            "nearly every input is dropped",
        ),
        (
            "--warmup-epochs",
            Some(warmup).filter(|epochs| *epochs > 10.0 * job.training.epochs as f64),
            "the run ends at the beginning of the warm-up",
        ),
    ];
    settings
        .into_iter()
        .filter_map(|(setting, value, why)| {
            value.map(|value| Warning::HardlyMoves { setting, value, why })
        })
        .collect()
}

fn of_rate(optimizer: &OptimizerConfig) -> Option<Warning> {
    let (most, usual) = match optimizer {
        OptimizerConfig::Sgd(_) | OptimizerConfig::Muon { .. } => (100.0, "0.001 to 1"),
        _ => (2.0, "0.0001 to 0.01"),
    };
    let (rate, optimizer) = (optimizer.learning_rate(), optimizer.name());
    (rate > most).then_some(Warning::LargeRate { rate, optimizer, usual })
}

fn of_length(job: &Job<'_>) -> Option<Warning> {
    const WEEKS: u64 = 3 * 7;
    let steps = job.steps_per_epoch().saturating_mul(job.training.epochs);
    (steps > WEEKS * STEPS_OF_A_DAY).then_some(Warning::ManySteps { steps })
}

/// Whether more than a few test rows have the features of a training row.
fn of_test_rows(data: &Dataset, training: &[usize], test: &Dataset) -> Option<Warning> {
    let (rows, of) = (data.repeated_in(training, test), test.len());
    // Some published sets share a few; rows of few values are alike by chance.
    (rows * 20 > of).then_some(Warning::TestRowsTrainedOn { rows, of })
}

/// The least and the greatest of some numbers.
fn range<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> (f32, f32) {
    let all = numbers.into_iter();
    all.fold((f32::MAX, f32::MIN), |(least, most), &x| (least.min(x), most.max(x)))
}

fn of_norms(job: &Job<'_>, model: &MlpConfig) -> Vec<Warning> {
    // Norms that are not trained use the statistics that they came with.
    let is_trained = job.tuned.is_none_or(|tuned| {
        let mut phases = tuned.tuning.phases.iter();
        !tuned.tuning.keep_statistics
            && phases.any(|phase| phase.rates.keys().any(|path| path.starts_with("norms.")))
    });
    let Ok(network) = model.architecture() else { return Vec::new() };
    let mut found = Vec::new();
    if is_trained && network.has_norm(Norm::Batch) {
        found.extend(of_batch_norm(job));
    }
    let narrow =
        |i: &usize| network.hidden[*i].norm == Norm::Layer && network.norm_width(*i) == Some(1);
    let narrow = (0..network.hidden.len()).filter(narrow);
    found.extend(narrow.map(|layer| Warning::LayerNormOfOneUnit { layer }));
    found
}

fn of_batch_norm(job: &Job<'_>) -> Option<Warning> {
    let TrainingSettings { batch_size, drop_last, .. } = *job.training;
    let rows = job.split.train.len();
    if batch_size.min(rows) == 1 {
        Some(Warning::BatchNormOfOneRow { rows })
    } else if rows % batch_size == 1 && !drop_last {
        Some(Warning::BatchNormOfLastRow { rows, batch_size })
    } else {
        None
    }
}

fn of_hidden_layers(model: &MlpConfig, is_tuned: bool) -> Option<Warning> {
    let flags = [
        ("--dropout", model.dropout > 0.0),
        ("--norm", model.norm != Norm::None && !is_tuned),
        ("--residual", model.residual && !is_tuned),
        ("--activation", model.activation != Activation::default() && !is_tuned),
    ];
    let flags: Vec<&str> =
        flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).collect();
    let hidden = model.architecture().ok()?.hidden;
    if hidden.is_empty() {
        return (!flags.is_empty()).then_some(Warning::NoHiddenLayers { flags });
    }
    let has_residual = hidden.iter().any(|layer| layer.skip.is_some());
    (model.residual && !is_tuned && !has_residual).then_some(Warning::NoResidual)
}

fn of_targets(data: &Dataset, split: &Split, is_tuned: bool) -> Vec<Warning> {
    let training = &split.train;
    match data.targets() {
        Targets::Classes { ids, labels } => of_classes(ids, labels, split, is_tuned),
        Targets::Values { values, names } => {
            of_columns(values, names, training).into_iter().collect()
        }
        Targets::MultiLabel { values, labels } => {
            of_columns(values, labels, training).into_iter().collect()
        }
    }
}

/// Whether a few rows choose the epoch.
fn of_choice(training: &TrainingSettings, rows: usize) -> Option<Warning> {
    /// One row of so few changes an accuracy by a twentieth, as much as good models differ.
    const LEAST: usize = 20;
    (training.keeps_best() && (1..LEAST).contains(&rows))
        .then_some(Warning::FewRowsToChooseBy { rows })
}

/// Columns of targets that have one value in all training rows.
fn of_columns<T: PartialEq>(values: &[T], names: &[String], rows: &[usize]) -> Option<Warning> {
    let (&first, others) = rows.split_first()?;
    let is_constant = |column: usize| {
        let first = &values[first * names.len() + column];
        others.iter().all(|row| values[row * names.len() + column] == *first)
    };
    let constant = (0..names.len()).filter(|&column| is_constant(column));
    let names: Vec<String> = constant.map(|column| names[column].clone()).collect();
    // One row says nothing of what is constant.
    (!others.is_empty() && !names.is_empty()).then_some(Warning::ConstantTargets { names })
}

/// Rows of each class.
fn counts(ids: &[u32], classes: usize, rows: &[usize]) -> Vec<usize> {
    let mut counts = vec![0; classes];
    rows.iter().for_each(|&row| counts[ids[row] as usize] += 1);
    counts
}

/// The class that all rows have, if they have but one.
fn only_class(counts: &[usize]) -> Option<usize> {
    let mut present = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let first = present.next()?.0;
    present.next().is_none().then_some(first)
}

fn of_classes(ids: &[u32], labels: &[String], split: &Split, is_tuned: bool) -> Vec<Warning> {
    let Split { train: training, validation } = split;
    let trained = counts(ids, labels.len(), training);
    let mut found = Vec::new();
    if let Some(class) = only_class(&trained) {
        found.push(Warning::OneClass { label: labels[class].clone() });
    } else {
        let absent = without_rows(labels, &trained);
        if !absent.is_empty() {
            found.push(Warning::ClassesWithoutRows { labels: absent, is_tuned });
        }
    }
    let present = trained.iter().filter(|count| **count > 0).count();
    let held_out = counts(ids, labels.len(), validation);
    if present > 1 && !validation.is_empty() {
        if validation.len() < present {
            let (rows, classes) = (validation.len(), present);
            found.push(Warning::FewValidationRows { rows, classes });
        } else if let Some(class) = only_class(&held_out) {
            found.push(Warning::ValidationOfOneClass { label: labels[class].clone() });
        }
    }
    found
}

fn without_rows(labels: &[String], counts: &[usize]) -> Vec<String> {
    labels.iter().zip(counts).filter(|(_, n)| **n == 0).map(|(label, _)| label.clone()).collect()
}

fn of_loss(data: &Dataset, training: &[usize], loss: &Loss) -> Vec<Warning> {
    let (Targets::Classes { ids, labels }, Loss::CrossEntropy(loss)) = (data.targets(), loss)
    else {
        return Vec::new();
    };
    let CrossEntropy { label_smoothing, class_weights } = loss;
    let mut found = Vec::new();
    if *label_smoothing > 0.0 && labels.len() == 1 {
        found.push(Warning::SmoothingOfOneClass);
    }
    if let Some(weights) = class_weights {
        let trained = counts(ids, labels.len(), training);
        let weighed = labels.iter().zip(weights).zip(&trained);
        let weighed = weighed.filter(|((_, weight), rows)| **weight != 1.0 && **rows == 0);
        let labels: Vec<String> = weighed.map(|((label, _), _)| label.clone()).collect();
        if !labels.is_empty() {
            found.push(Warning::WeightsWithoutRows { labels });
        }
    }
    found
}

fn is_equal(data: &Dataset, a: usize, b: usize) -> bool {
    if data.terms().iter().any(|all| all.row(a) != all.row(b)) {
        return false;
    }
    let [a, b] = [a, b].map(|row| row * data.width()..(row + 1) * data.width());
    match data.features() {
        Features::Bytes(bytes) => bytes[a] == bytes[b],
        Features::Floats(floats) => floats[a] == floats[b],
        // To compare all rows takes as long as an epoch.
        Features::Blocks(_) => false,
    }
}

/// The first labels, and how many more there are.
fn listed(labels: &[String]) -> String {
    fireclay_terminal::listed(labels, 10, |label| quoted(label))
}

#[cfg(test)]
mod tests;
