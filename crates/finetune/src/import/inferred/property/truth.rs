//! Networks made at random, which are then inferred.

use std::collections::BTreeMap;

use fireclay::{Activation, HiddenLayer, Norm, NormPosition, Skip, SkipPosition};
use fireclay_formats as formats;
use fireclay_formats::{Layer, Layout};

use super::names::Names;
use super::random::Random;

/// A linear layer or a norm, by the place that it has in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Module {
    InputNorm,
    Linear(usize),
    Norm(usize),
}

/// A network as it was made.
#[derive(Debug)]
pub(super) struct Truth {
    /// Inputs, and the outputs of each layer.
    pub(super) widths: Vec<usize>,
    pub(super) biases: Vec<bool>,
    pub(super) norm: Option<Norm>,
    pub(super) positions: Vec<NormPosition>,
    /// Whether each norm stands before the layer that it is called like, and not behind it, and
    /// whether the last layer has one as well.
    pub(super) before_layers: Option<bool>,
    /// A hidden layer without a norm, where others have one.
    pub(super) without: Option<usize>,
    pub(super) residual: bool,
    pub(super) layout: Layout,
    /// The hidden layers, if they differ by more than their widths.
    pub(super) each: Option<Vec<HiddenLayer>>,
}

/// Hidden layers of these widths that differ in everything.
pub(super) fn each(random: &mut Random, widths: &[usize], biases: &[bool]) -> Vec<HiddenLayer> {
    let kinds = random.one(&[
        [Norm::Batch; 2],
        [Norm::Layer; 2],
        [Norm::Rms; 2],
        [Norm::Batch, Norm::Layer],
        [Norm::Rms, Norm::Layer],
    ]);
    let mut layers: Vec<HiddenLayer> = Vec::new();
    for at in 0..widths.len() - 2 {
        let mut skip = None;
        if random.chance(25) {
            let spans: Vec<usize> =
                (1..=at + 1).filter(|span| widths[at + 1 - span] == widths[at + 1]).collect();
            let position = random.one(SkipPosition::ALL);
            skip = (!spans.is_empty()).then(|| Skip { span: random.one(&spans), position });
        }
        let norm = random.one(&[Norm::None, kinds[0], kinds[1]]);
        layers.push(HiddenLayer {
            activation: random.one(&[Activation::Relu, Activation::Tanh, Activation::Gelu]),
            norm,
            norm_position: random.one(NormPosition::ALL),
            dropout: random.one(&[0.0, 0.5]),
            bias: biases[at],
            skip,
            ..HiddenLayer::new(widths[at + 1])
        });
    }
    layers
}

impl Truth {
    pub(super) fn random(random: &mut Random) -> Self {
        let hidden = random.one(&[0, 1, 1, 2, 2, 3, 3, 4, 5]);
        let width = random.one(&[3, 4, 8]);
        let are_equal = random.chance(60);
        let mut widths: Vec<usize> = (0..hidden)
            .map(|_| if are_equal { width } else { random.one(&[3, 4, 5, 6, 8]) })
            .collect();
        widths.insert(0, if random.chance(25) { width } else { 9 });
        widths.push(if random.chance(15) { width } else { random.one(&[1, 2, 7]) });
        let share = random.one(&[0, 100, 100, 100, 60]);
        let biases: Vec<bool> = (0..=hidden).map(|_| random.chance(share)).collect();
        let norm = random.one(&[None, None, Some(Norm::Batch), Some(Norm::Layer)]);
        let norm = norm.filter(|_| hidden > 0);
        let (before, after) = (NormPosition::BeforeActivation, NormPosition::AfterActivation);
        let input = NormPosition::Input;
        let before_layers = (norm.is_some() && random.chance(15)).then(|| random.chance(30));
        let without = (hidden > 1 && random.chance(10)).then(|| random.below(hidden));
        let without = without.filter(|_| norm.is_some());
        let normed = (0..hidden).filter(|at| Some(*at) != without).collect::<Vec<_>>();
        let positions = match random.below(10) {
            _ if norm.is_none() => vec![],
            _ if before_layers == Some(false) && normed == [0] => vec![input],
            _ if before_layers.is_some() && without == Some(0) => vec![after],
            _ if before_layers.is_some() => vec![input, after],
            0..5 => vec![before],
            5..7 => vec![after],
            7 => vec![input],
            8 => vec![input, before],
            _ => vec![input, after],
        };
        let squares = (0..hidden).any(|i| widths[i] == widths[i + 1]);
        let is_before = positions.is_empty() || positions == [before];
        let residual = squares && is_before && random.chance(20);
        let layout = random.one(&[Layout::OutIn, Layout::InOut]);
        if random.chance(25) {
            let each = Some(each(random, &widths, &biases));
            let (norm, positions, before_layers, without) = (None, vec![], None, None);
            let residual = false;
            return Self {
                widths,
                biases,
                norm,
                positions,
                before_layers,
                without,
                residual,
                layout,
                each,
            };
        }
        let each = None;
        Self { widths, biases, norm, positions, before_layers, without, residual, layout, each }
    }

    /// What the norm that is called like a layer is, if it has one.
    pub(super) fn norm_of(&self, at: usize) -> Option<(Norm, NormPosition)> {
        let layer = self.each.as_ref()?.get(at)?;
        (layer.norm != Norm::None).then_some((layer.norm, layer.norm_position))
    }

    pub(super) fn hidden(&self) -> usize {
        self.widths.len() - 2
    }

    pub(super) fn has_input_norm(&self) -> bool {
        self.before_layers.is_none() && self.positions.contains(&NormPosition::Input)
    }

    pub(super) fn has_norms(&self) -> bool {
        let of_each = |each: &Vec<HiddenLayer>| each.iter().any(|layer| layer.norm != Norm::None);
        self.each.as_ref().is_some_and(of_each)
            || self.before_layers.is_some()
            || self.positions.iter().any(|position| *position != NormPosition::Input)
    }

    /// Whether a layer has a norm that is called like it.
    pub(super) fn has_norm(&self, at: usize) -> bool {
        if self.each.is_some() {
            return self.norm_of(at).is_some();
        }
        let layers = self.hidden() + usize::from(self.before_layers == Some(true));
        self.has_norms() && at < layers && Some(at) != self.without
    }

    pub(super) fn is_after(&self) -> bool {
        self.before_layers.is_none() && self.positions.contains(&NormPosition::AfterActivation)
    }

    /// What it computes, of tensors of these names, if its layers differ; none if two skip
    /// connections overlap.
    pub(super) fn layers_of_each(
        &self,
        each: &[HiddenLayer],
        names: &BTreeMap<Module, Names>,
        epsilon: f64,
    ) -> Option<Vec<Layer>> {
        let mut all: Vec<Layer> = Vec::new();
        let mut read: Vec<Vec<Layer>> = Vec::new();
        for at in 0..=self.hidden() {
            let layer = each.get(at).cloned().unwrap_or_default();
            read.push(all.clone());
            let add = |all: &mut Vec<Layer>, here: SkipPosition| {
                let Some(skip) = layer.skip.filter(|skip| skip.position == here) else {
                    return Some(());
                };
                let before = &read[at + 1 - skip.span];
                let inner = all.strip_prefix(&before[..])?.to_vec();
                *all = [&before[..], &[Layer::Residual(inner)]].concat();
                Some(())
            };
            let norm = |here| {
                let norm = names.get(&Module::Norm(at))?;
                let kind = match layer.norm {
                    Norm::Batch => formats::Norm::Batch,
                    Norm::Rms => formats::Norm::Rms,
                    _ => formats::Norm::Layer,
                };
                let (scale, shift) = (Some(norm.weight.clone()), Some(norm.bias.clone()));
                let shift = shift.filter(|_| layer.norm != Norm::Rms);
                let epsilon = if layer.norm == Norm::Rms { layer.norm_epsilon } else { epsilon };
                let (mean, variance) = (norm.mean.clone(), norm.variance.clone());
                let norm = Layer::Norm { kind, scale, shift, mean, variance, epsilon };
                (layer.norm_position == here).then_some(norm)
            };
            all.extend(norm(NormPosition::Input));
            let linear = &names[&Module::Linear(at)];
            let bias = self.biases[at].then(|| linear.bias.clone());
            all.push(Layer::Dense { weight: linear.weight.clone(), bias, layout: self.layout });
            add(&mut all, SkipPosition::BeforeNorm)?;
            all.extend(norm(NormPosition::BeforeActivation));
            add(&mut all, SkipPosition::BeforeActivation)?;
            if at < self.hidden() {
                let name = layer.activation.name().to_owned();
                let constants = BTreeMap::new();
                all.push(Layer::Activation(formats::Activation { name, constants }));
            }
            all.extend(norm(NormPosition::AfterActivation));
            all.extend((layer.dropout > 0.0).then_some(Layer::Dropout(layer.dropout)));
            add(&mut all, SkipPosition::Output)?;
        }
        Some(all)
    }

    /// What it computes, of tensors of these names.
    pub(super) fn layers(&self, names: &BTreeMap<Module, Names>, epsilon: f64) -> Vec<Layer> {
        let norm = |module| {
            names.get(&module).map(|names| Layer::Norm {
                kind: match self.norm {
                    Some(Norm::Batch) => formats::Norm::Batch,
                    _ => formats::Norm::Layer,
                },
                scale: Some(names.weight.clone()),
                shift: Some(names.bias.clone()),
                mean: names.mean.clone(),
                variance: names.variance.clone(),
                epsilon,
            })
        };
        let mut layers: Vec<Layer> = norm(Module::InputNorm).into_iter().collect();
        for at in 0..=self.hidden() {
            let names = &names[&Module::Linear(at)];
            let bias = self.biases[at].then(|| names.bias.clone());
            let weight = names.weight.clone();
            let mut step = vec![Layer::Dense { weight, bias, layout: self.layout }];
            let relu = formats::Activation { name: "relu".to_owned(), constants: [].into() };
            let relu = (at < self.hidden()).then_some(Layer::Activation(relu));
            let of_layer = norm(Module::Norm(at));
            let (before, after) = match (self.before_layers, self.is_after()) {
                (Some(_), _) => {
                    layers.extend(of_layer);
                    (None, None)
                }
                (None, true) => (None, of_layer),
                (None, false) => (of_layer, None),
            };
            step.extend(before.into_iter().chain(relu).chain(after));
            let is_square = self.widths[at] == self.widths[at + 1];
            let adds = self.residual && at < self.hidden() && is_square;
            layers.extend(if adds { vec![Layer::Residual(step)] } else { step });
        }
        layers
    }
}
