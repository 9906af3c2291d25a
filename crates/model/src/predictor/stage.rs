//! What precedes the first layer: the front stage, the learned scaling, and the scales of members.

use std::f32::consts::TAU;

use super::function::activate;
use super::rows::Rows;
use crate::model_file::Weights;
use crate::{
    Activation, Architecture, FrontParameter, FrontPart, LEAKY_SLOPE, ModelFileProblem,
    ParameterPath,
};

/// What precedes the first layer of a network that does not read rows as they are.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Columns of a row.
    columns: usize,
    /// Numbers that the first layer reads.
    width: usize,
    parts: Vec<Part>,
    scales: Option<Vec<f32>>,
    /// The scales of each member of an ensemble, one after the other.
    members: Option<Vec<f32>>,
}

/// A part of the front stage.
#[derive(Clone, Debug)]
enum Part {
    Pass { columns: usize },
    Embedding { width: usize, vectors: Vec<f32> },
    Periodic(Periodic),
    Bag(Bag),
}

/// The vectors of the terms of a text.
#[derive(Clone, Debug)]
struct Bag {
    activation: Activation,
    /// `[terms, width]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Periodic embeddings of some columns.
#[derive(Clone, Debug)]
struct Periodic {
    columns: usize,
    frequencies: usize,
    width: usize,
    frequency: Vec<f32>,
    phase: Vec<f32>,
    /// `[columns, width - 1, frequencies]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Stage {
    /// That of a network, if it has any.
    pub(super) fn new(
        architecture: &Architecture,
        weights: &mut Weights,
    ) -> Result<Option<Self>, ModelFileProblem> {
        let mut parts = Vec::new();
        for (i, part) in architecture.front.iter().enumerate() {
            parts.push(Part::new(i, part, weights)?);
        }
        let (columns, width) = (architecture.inputs(), architecture.front_width());
        let scales = architecture.scaling.then(|| weights.take(ParameterPath::Scaling, &[width]));
        let scales = scales.transpose()?;
        let members = match architecture.ensemble {
            Some(ensemble) => {
                Some(weights.take(ParameterPath::Members, &[ensemble.members, width])?)
            }
            None => None,
        };
        let is_empty = parts.is_empty() && scales.is_none() && members.is_none();
        Ok((!is_empty).then_some(Self { columns, width, parts, scales, members }))
    }

    /// Writes what the first layer of a member reads of prepared rows.
    pub(super) fn apply(&self, member: usize, rows: Rows<'_>, into: &mut [f32]) {
        for (at, into) in into.chunks_exact_mut(self.width).take(rows.count).enumerate() {
            if self.parts.is_empty() {
                into.copy_from_slice(&rows.dense[at * self.columns..][..self.columns]);
            } else {
                self.embed(rows, at, into);
            }
            if let Some(scales) = &self.scales {
                multiply(into, scales);
            }
            if let Some(members) = &self.members {
                multiply(into, &members[member * self.width..][..self.width]);
            }
        }
    }

    /// Writes what the parts give of row `at`.
    fn embed(&self, rows: Rows<'_>, at: usize, mut into: &mut [f32]) {
        let mut row = &rows.dense[at * self.columns..][..self.columns];
        let mut texts = rows.sparse.iter();
        for part in &self.parts {
            let (columns, rest) = row.split_at(part.columns());
            let (numbers, room) = into.split_at_mut(part.width());
            if let Part::Bag(bag) = part {
                let (places, values) =
                    texts.next().map_or((&[][..], &[][..]), |text| text.row(rows.first + at));
                bag.apply(places, values, numbers);
            } else {
                part.apply(columns, numbers);
            }
            (row, into) = (rest, room);
        }
    }
}

fn multiply(numbers: &mut [f32], scales: &[f32]) {
    numbers.iter_mut().zip(scales).for_each(|(number, scale)| *number *= scale);
}

impl Part {
    fn new(i: usize, part: &FrontPart, weights: &mut Weights) -> Result<Self, ModelFileProblem> {
        let mut take =
            |parameter, shape: &[usize]| weights.take(ParameterPath::Front(i, parameter), shape);
        Ok(match *part {
            FrontPart::Pass { columns } => Self::Pass { columns },
            FrontPart::Embedding { levels, width } => {
                let vectors = take(FrontParameter::Weight, &[levels, width])?;
                Self::Embedding { width, vectors }
            }
            FrontPart::Periodic { columns, frequencies, width, .. } => Self::Periodic(Periodic {
                columns,
                frequencies,
                width,
                frequency: take(FrontParameter::Frequency, &[columns, frequencies])?,
                phase: take(FrontParameter::Phase, &[columns, frequencies])?,
                weight: take(FrontParameter::Weight, &[columns, width - 1, frequencies])?,
                bias: take(FrontParameter::Bias, &[columns, width - 1])?,
            }),
            FrontPart::Bag { terms, width, activation } => Self::Bag(Bag {
                activation,
                weight: take(FrontParameter::Weight, &[terms, width])?,
                bias: take(FrontParameter::Bias, &[width])?,
            }),
        })
    }

    fn columns(&self) -> usize {
        match self {
            Self::Pass { columns } => *columns,
            Self::Embedding { .. } => 1,
            Self::Bag(_) => 0,
            Self::Periodic(periodic) => periodic.columns,
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Pass { columns } => *columns,
            Self::Embedding { width, .. } => *width,
            Self::Bag(bag) => bag.bias.len(),
            Self::Periodic(periodic) => periodic.columns * periodic.width,
        }
    }

    /// Writes what it gives of its columns; that of a bag is of terms.
    fn apply(&self, columns: &[f32], into: &mut [f32]) {
        match self {
            Self::Bag(_) => {}
            Self::Pass { .. } => into.copy_from_slice(columns),
            Self::Embedding { width, vectors } => {
                let levels = vectors.len() / width;
                // A conversion saturates: numbers below 0 and NaN become 0.
                let level = columns[0] as usize;
                let level = if level < levels { level } else { 0 };
                into.copy_from_slice(&vectors[level * width..][..*width]);
            }
            Self::Periodic(periodic) => periodic.apply(columns, into),
        }
    }
}

impl Bag {
    /// Adds up the vectors of some terms, in their order: a sum depends on its row alone.
    fn apply(&self, places: &[u32], values: &[f32], into: &mut [f32]) {
        let width = self.bias.len();
        into.copy_from_slice(&self.bias);
        for (&place, value) in places.iter().zip(values) {
            let vector = &self.weight[place as usize * width..][..width];
            into.iter_mut().zip(vector).for_each(|(sum, weight)| *sum += value * weight);
        }
        activate(self.activation, LEAKY_SLOPE as f32, into);
    }
}

impl Periodic {
    fn apply(&self, columns: &[f32], into: &mut [f32]) {
        let (frequencies, outputs) = (self.frequencies, self.width - 1);
        for ((at, &x), into) in columns.iter().enumerate().zip(into.chunks_exact_mut(self.width)) {
            into[..outputs].copy_from_slice(&self.bias[at * outputs..][..outputs]);
            into[outputs] = x;
            let waves = self.frequency[at * frequencies..][..frequencies].iter();
            let waves = waves.zip(&self.phase[at * frequencies..][..frequencies]);
            let weight = &self.weight[at * outputs * frequencies..][..outputs * frequencies];
            for (k, (frequency, phase)) in waves.enumerate() {
                let wave = (TAU * (x * frequency) + phase).cos();
                let weights = weight.iter().skip(k).step_by(frequencies);
                into.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += wave * weight);
            }
        }
    }
}
