//! What a job borrows, on data small enough to check by reasoning.

use std::collections::BTreeSet;
use std::io;

use fireclay::{
    Activation, Analyzer, Device, Field, FrontPart, InputSpec, Loss, MlpConfig, NgramRange,
    Preprocessing, Sounds, SparseRows, Task, TermPlaces, Text, Weighting,
};
use fireclay_data::{Dataset, Features, Holdout, RowSource, Split, Targets, split};
use train::job::Job;
use train::optimizer::{OptimizerConfig, Sgd};
use train::progress::{Due, EpochReport, Keeper, Progress};
use train::schedule::Schedule;
use train::settings::{Settings, TrainingSettings};
use train::state::Snapshot;

/// Everything a job borrows, to be varied by a test.
pub(crate) struct Setup {
    pub(crate) data: Dataset,
    pub(crate) split: Split,
    pub(crate) task: Task,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) loss: Loss,
    pub(crate) optimizer: OptimizerConfig,
    pub(crate) schedule: Schedule,
    pub(crate) training: TrainingSettings,
    pub(crate) model: MlpConfig,
    pub(crate) seed: u64,
    pub(crate) sounds: Option<Sounds>,
}

impl Setup {
    /// Points in the plane, labelled by quadrant: three classes of different sizes.
    pub(crate) fn classes() -> Self {
        let points: Vec<f32> = (0..200).map(|i| ((i * 71 % 199) as f32 - 99.0) / 50.0).collect();
        let class = |p: &[f32]| if p[0] > 0.0 { 0 } else { 1 + u32::from(p[1] > 0.0) };
        let ids = points.chunks(2).map(class).collect();
        let labels: Vec<String> = ["right", "low", "high"].map(String::from).to_vec();
        let task = Task::classification(labels.clone());
        Self::new(points, Targets::Classes { ids, labels }, task)
    }

    pub(crate) fn new(points: Vec<f32>, targets: Targets, task: Task) -> Self {
        let data = Dataset::new(vec![2], Features::Floats(points), targets).unwrap();
        let Settings { training, schedule, .. } = Settings::default();
        Self {
            split: split(&data, Holdout::Count(20), false, 1).unwrap(),
            data,
            preprocessing: Preprocessing::None,
            loss: Loss::default_for(&task),
            optimizer: OptimizerConfig::Sgd(Sgd { learning_rate: 0.5, ..Sgd::default() }),
            schedule,
            training: TrainingSettings { epochs: 3, batch_size: 16, ..training },
            model: MlpConfig::new([2], [8], task.outputs()),
            task,
            seed: 1,
            sounds: None,
        }
    }

    /// What its model takes.
    pub(crate) fn input(&self) -> InputSpec {
        let dense = || InputSpec::dense(&[2], self.preprocessing.clone());
        self.data.input().cloned().unwrap_or_else(dense)
    }

    /// Gives each row a text of up to five of 40 terms, beside its columns or in place of them.
    pub(crate) fn with_texts(mut self, is_alone: bool, activation: Activation) -> Self {
        const TERMS: u32 = 40;
        let mut rows = SparseRows::default();
        for row in 0..self.data.len() as u32 {
            let places = (0..row % 6).map(|k| (row * 7 + k * k * 3) % TERMS);
            let places: BTreeSet<u32> = places.collect();
            rows.push(places.into_iter().map(|place| (place, 0.5 + (place % 3) as f32)));
        }
        let analyzer = Analyzer {
            words: NgramRange::new(1, 1).unwrap(),
            characters: NgramRange::NONE,
            lowercase: true,
        };
        let places = TermPlaces::Hash { buckets: TERMS, seed: 0 };
        let text = Field::new("text", Text { analyzer, places, weighting: Weighting::Counts });
        let dense = self.input().fields()[0].clone();
        let bag = FrontPart::Bag { terms: TERMS as usize, width: 5, activation };
        let (fields, width, front) = if is_alone {
            (vec![text], 0, vec![bag])
        } else {
            (vec![dense, text], 2, vec![FrontPart::Pass { columns: 2 }, bag])
        };
        let features =
            if is_alone { Features::Floats(Vec::new()) } else { self.data.features().clone() };
        let targets = self.data.targets().clone();
        let data = Dataset::with_terms(vec![width], features, vec![rows], targets).unwrap();
        let data = data.with_input(InputSpec::new(fields).unwrap());
        self.data = match self.data.weights() {
            Some(weights) => data.with_weights(weights.to_vec()).unwrap(),
            None => data,
        };
        self.model.input_shape = vec![width];
        self.model.front = front;
        self
    }

    pub(crate) fn job<'a>(&'a self, device: &'a Device) -> Job<'a> {
        Job {
            rows: RowSource::gathered(&self.data, device),
            split: &self.split,
            task: &self.task,
            preprocessing: &self.preprocessing,
            loss: &self.loss,
            optimizer: &self.optimizer,
            schedule: &self.schedule,
            training: &self.training,
            tuned: None,
            sounds: self.sounds.as_ref(),
            seed: self.seed,
            device,
        }
    }
}

/// Stops a run after a step and takes its state.
pub(crate) struct Take {
    step: u64,
    pub(crate) taken: Option<Snapshot>,
}

impl Take {
    pub(crate) fn at(step: u64) -> Self {
        Self { step, taken: None }
    }
}

impl Keeper for Take {
    fn record_steps(&mut self, _progress: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn record_epoch(&mut self, _report: &EpochReport) -> io::Result<()> {
        Ok(())
    }

    fn due(&mut self, step: u64, _epoch_ended: bool) -> io::Result<Due> {
        Ok(if step == self.step { Due::Interrupt } else { Due::Nothing })
    }

    fn keep(&mut self, snapshot: Snapshot) -> io::Result<()> {
        self.taken = Some(snapshot);
        Ok(())
    }
}
