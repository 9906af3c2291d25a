//! What a run says before and after training.

use std::path::Path;

use fireclay_terminal::{counted, digest_start, group, quoted_path, sizes};

use super::Run;
use crate::evaluate::Evaluation;
use crate::fit::{Ending, Fitted};
use crate::progress::list;
use crate::run_files::{CHECKPOINTS, CONFIG, MANIFEST, METRICS, MODEL};
use crate::schedule::Length;
use crate::settings::{DataSettings, EarlyStopping, Settings, TrainingSettings};
use crate::signals;
use crate::state::RunProgress;
use crate::table_text::summary;

/// The shape of a sample; one of texts alone has no columns.
fn shape(shape: &[usize]) -> String {
    if shape == [0] { "text".to_owned() } else { sizes(shape) }
}

impl Run {
    /// The first lines: data, network, optimizer.
    pub(super) fn heading(&self) -> String {
        let Settings { model, optimizer, training, backend, seed, .. } = &self.settings;
        let network = model.architecture().ok();
        let network = network.map_or_else(String::new, |network| {
            let parameters = counted(network.parameters() as u64, "parameter");
            format!("{}, {parameters}", network.in_words())
        });
        let table = self.data.table.as_ref().map_or_else(String::new, |table| summary(table));
        let mut text = format!(
            "{}: {} training, {} validation and {} test samples of {}\n\
             {table}{network}\n\
             {}, learning rate {:?}, batches of {}; {backend}, seed {seed}",
            self.sources.data,
            group(self.split.train.len() as u64),
            group(self.split.validation.len() as u64),
            group(self.data.test.len() as u64),
            shape(self.data.train.shape()),
            optimizer.name(),
            optimizer.learning_rate(),
            training.batch_size * training.accumulate,
        );
        if self.task.scaling().is_some() {
            text +=
                "\nThe loss is that of standardized targets; other metrics use the target's unit.";
        }
        if !backend.is_cpu() {
            text += "\nThe first steps compile and tune kernels, for up to two minutes.";
        }
        text
    }

    /// The last lines of a run that reached its end.
    pub(super) fn ending(
        &self,
        folder: &Path,
        digest: &str,
        fitted: &Fitted,
        test: &Evaluation,
    ) -> String {
        let path = folder.display();
        let pasted = quoted_path(folder);
        let model = folder.join(MODEL).display().to_string();
        let program = &self.options.program;
        let more = self.more();
        let monitor = self.settings.training.monitor;
        let ending = match fitted.ending {
            Ending::Complete => "",
            Ending::Early => {
                &format!("Stopped early: the validation {monitor} no longer improved.\n")
            }
            Ending::Stopped => "Stopped from the dashboard.\n",
            Ending::Interrupted => "",
        };
        let best = if self.settings.training.keeps_best() {
            format!("The model is that of epoch {}, {}.\n", fitted.epoch, self.kept())
        } else {
            String::new()
        };
        let again = match fitted.ending {
            Ending::Stopped => {
                format!("{program} --resume {pasted}\n                      continues the run")
            }
            _ => format!(
                "{program} --repeat {pasted}\n                      \
                 repeats this run, and compares the models"
            ),
        };
        let usage = match &self.data.table {
            // By the names of its columns, which may come in any order.
            Some(table) if table.sounds.is_some() => {
                format!("Predict recordings:\n  fireclay predict {pasted} recording.wav")
            }
            Some(_) => format!("Predict rows of a table:\n  fireclay predict {pasted} rows.csv"),
            None => format!(
                "Use the model from Rust:\n  \
                 Model::load({model:?}, &device)?.predict(&rows)?"
            ),
        };
        let is_regression = matches!(self.task, fireclay::Task::Regression { .. });
        let names = if is_regression { "targets" } else { "labels" };
        format!(
            "{ending}{best}test {}\n\n\
             Saved in {path}:\n  \
             {MODEL:<20}weights, preprocessing, {names} ({})\n  \
             {CONFIG:<20}the settings\n  \
             {METRICS:<20}every measurement\n  \
             {MANIFEST:<20}program, machine, data and result\n  \
             {CHECKPOINTS:<20}for --resume\n\n\
             {usage}\n\
             Next:\n  \
             {again}{more}",
            list(&test.measured),
            digest_start(digest),
        )
    }

    /// Why the model is that of its epoch, and no other's.
    fn kept(&self) -> String {
        let TrainingSettings { monitor, early_stopping, .. } = &self.settings.training;
        match early_stopping {
            Some(EarlyStopping { min_improvement, .. }) if *min_improvement > 0.0 => format!(
                "the last that improved the validation {monitor} by more than {min_improvement}"
            ),
            _ => format!("the best by validation {monitor}"),
        }
    }

    /// What else there is to try.
    fn more(&self) -> String {
        // Whoever tunes a model knows what with.
        if self.settings.tuning.is_some() {
            return String::new();
        }
        let program = &self.options.program;
        // The recipe is for these pictures.
        let recipe = if self.settings.data.source == DataSettings::default().source {
            format!(
                "\n  {program} --recipe mnist-best\n                      \
                 a wide network with dropout: slower, more accurate"
            )
        } else {
            String::new()
        };
        format!(
            "{recipe}\n  {program} --help\n                      \
             other data, networks, optimizers and backends"
        )
    }

    /// The last lines of a run that a signal stopped.
    pub(super) fn interruption(&self, folder: &Path, signal: i32, step: u64) -> String {
        format!(
            "Stopped by {} after step {}, which is in a checkpoint. Resume with:\n  {}",
            signals::name(signal),
            group(step),
            self.options.resume(folder),
        )
    }
}

/// Where a run resumes.
pub(super) fn resumption(progress: RunProgress, length: Length) -> String {
    format!(
        "resuming after step {} of {}; epochs done: {} of {}",
        group(progress.step),
        group(length.steps()),
        progress.epochs,
        length.epochs
    )
}
