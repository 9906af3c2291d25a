//! Random networks under random names, in random order: what is inferred is the network that was
//! made, or nothing is. Never another.

use std::collections::BTreeMap;

use fireclay::{Activation, HiddenLayer, Norm, NormPosition, Skip, SkipPosition};
use fireclay_formats as formats;
use fireclay_formats::{Archive, Kind, Layer, Layout, Tensor};

use super::super::{Layers, Options, SaidLayer};
use super::{EPSILON, EPSILON_OF_KERAS, has_own_order, network};

/// Networks that are tried.
const CASES: u64 = 8_000;

/// Random numbers (SplitMix64), so that a case is known by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// A linear layer or a norm, by the place that it has in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Module {
    InputNorm,
    Linear(usize),
    Norm(usize),
}

/// A network as it was made.
#[derive(Debug)]
struct Truth {
    /// Inputs, and the outputs of each layer.
    widths: Vec<usize>,
    biases: Vec<bool>,
    norm: Option<Norm>,
    positions: Vec<NormPosition>,
    /// Whether each norm stands before the layer that it is called like, and not behind it, and
    /// whether the last layer has one as well.
    before_layers: Option<bool>,
    /// A hidden layer without a norm, where others have one.
    without: Option<usize>,
    residual: bool,
    layout: Layout,
    /// The hidden layers, if they differ by more than their widths.
    each: Option<Vec<HiddenLayer>>,
}

/// Hidden layers of these widths that differ in everything.
fn each(random: &mut Random, widths: &[usize], biases: &[bool]) -> Vec<HiddenLayer> {
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
    fn random(random: &mut Random) -> Self {
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
    fn norm_of(&self, at: usize) -> Option<(Norm, NormPosition)> {
        let layer = self.each.as_ref()?.get(at)?;
        (layer.norm != Norm::None).then_some((layer.norm, layer.norm_position))
    }

    fn hidden(&self) -> usize {
        self.widths.len() - 2
    }

    fn has_input_norm(&self) -> bool {
        self.before_layers.is_none() && self.positions.contains(&NormPosition::Input)
    }

    fn has_norms(&self) -> bool {
        let of_each = |each: &Vec<HiddenLayer>| each.iter().any(|layer| layer.norm != Norm::None);
        self.each.as_ref().is_some_and(of_each)
            || self.before_layers.is_some()
            || self.positions.iter().any(|position| *position != NormPosition::Input)
    }

    /// Whether a layer has a norm that is called like it.
    fn has_norm(&self, at: usize) -> bool {
        if self.each.is_some() {
            return self.norm_of(at).is_some();
        }
        let layers = self.hidden() + usize::from(self.before_layers == Some(true));
        self.has_norms() && at < layers && Some(at) != self.without
    }

    fn is_after(&self) -> bool {
        self.before_layers.is_none() && self.positions.contains(&NormPosition::AfterActivation)
    }

    /// What it computes, of tensors of these names, if its layers differ; none if two skip
    /// connections overlap.
    fn layers_of_each(
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
    fn layers(&self, names: &BTreeMap<Module, Names>, epsilon: f64) -> Vec<Layer> {
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

/// The names of a module's tensors.
#[derive(Clone, Debug)]
struct Names {
    weight: String,
    bias: String,
    mean: Option<String>,
    variance: Option<String>,
}

/// How modules are called, and in which order they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// `net.0`, `net.1`, `net.3`: one container with functions between.
    Sequential { dropout: bool, first: usize },
    /// `fc1`, `bn1`.
    Numbered,
    /// `layers.0`, `norms.0`.
    Lists,
    /// `stem`, `stem_norm`.
    Words,
    /// `blocks.0.fc`, `blocks.0.norm`.
    Blocks,
    /// `blocks.0.0`, `blocks.0.1`.
    Nested,
    /// `alpha`, `omega`.
    Unrelated,
    /// `dense_3`, `batch_normalization_2`.
    Keras,
    /// `W1`, `b1`, `gamma1`, `beta1`.
    Handmade,
    /// `blocks.0.fc1`, `blocks.0.fc2`.
    Pairs,
    /// `encoder.0`, `decoder.0`.
    Halves,
    /// `inp`, `body`, `head`.
    Told,
    /// `theta1`, with its bias within it.
    Theta,
    /// `x83`, `x7`.
    Chaos,
}

/// A made-up way to call things.
struct Namer<'a> {
    truth: &'a Truth,
    scheme: Scheme,
    prefix: &'static str,
    words: Vec<&'static str>,
    kinds: [&'static str; 2],
    start: usize,
    offset: usize,
    /// Whether biases are numbered from another number on than weights.
    apart: bool,
    head: Option<&'static str>,
    /// The layer that the name of each norm tells, if names are mixed up.
    mixed: Option<Vec<usize>>,
}

impl<'a> Namer<'a> {
    fn random(random: &mut Random, truth: &'a Truth) -> Self {
        let sequential = Scheme::Sequential { dropout: random.chance(30), first: random.below(2) };
        let scheme = random.one(&[
            sequential,
            sequential,
            Scheme::Numbered,
            Scheme::Numbered,
            Scheme::Lists,
            Scheme::Words,
            Scheme::Blocks,
            Scheme::Nested,
            Scheme::Unrelated,
            Scheme::Keras,
            Scheme::Handmade,
            Scheme::Pairs,
            Scheme::Halves,
            Scheme::Told,
            Scheme::Theta,
            Scheme::Chaos,
        ]);
        let scheme = match scheme {
            Scheme::Theta if truth.hidden() == 0 || truth.has_norms() => Scheme::Handmade,
            scheme => scheme,
        };
        let mut words = vec!["stem", "body", "mid", "neck", "tail", "trunk", "north", "omega"];
        words.extend(["apple", "zebra", "first", "middle", "kilo", "lima"]);
        random.shuffle(&mut words);
        let is_counted = matches!(scheme, Scheme::Sequential { .. } | Scheme::Keras);
        let head = (!is_counted && random.chance(50)).then(|| random.one(&["head", "out"]));
        let can_be_mixed =
            matches!(scheme, Scheme::Numbered | Scheme::Lists | Scheme::Words | Scheme::Blocks);
        let is_plain = truth.before_layers.is_none() && truth.without.is_none();
        let can_be_mixed = can_be_mixed && is_plain;
        let mixed = (can_be_mixed && truth.has_norms() && random.chance(15)).then(|| {
            let mut layers: Vec<usize> = (0..truth.hidden()).collect();
            random.shuffle(&mut layers);
            layers
        });
        Self {
            truth,
            scheme,
            mixed,
            prefix: match scheme {
                Scheme::Keras | Scheme::Handmade | Scheme::Theta => "",
                _ => random.one(&["", "", "net.", "model.mlp."]),
            },
            words,
            kinds: match truth.norm {
                _ if truth.each.is_some() => random.one(&[["fc", "norm"], ["l", "n"]]),
                Some(Norm::Batch) => {
                    random.one(&[["fc", "bn"], ["l", "n"], ["hidden", "batch_norm"]])
                }
                _ => random.one(&[["fc", "ln"], ["linear", "norm"], ["dense", "layer_norm"]]),
            },
            start: random.one(&[0, 0, 1, 1, 8]),
            offset: random.below(3),
            apart: truth.biases.iter().all(|has_bias| *has_bias) && random.chance(20),
            head,
        }
    }

    /// The number of a module in one `Sequential`, whose layers differ.
    fn counted_each(&self, module: Module, each: &[HiddenLayer], first: usize) -> usize {
        let mut count = first;
        for at in 0..=each.len() {
            let layer = each.get(at).cloned().unwrap_or_default();
            let norm = (layer.norm != Norm::None).then_some(layer.norm_position);
            // Functions and dropout have no tensors, and are counted.
            let rest = [
                (norm == Some(NormPosition::Input)).then_some(Module::Norm(at)),
                Some(Module::Linear(at)),
                (norm == Some(NormPosition::BeforeActivation)).then_some(Module::Norm(at)),
            ];
            for found in rest.into_iter().flatten() {
                if found == module {
                    return count;
                }
                count += 1;
            }
            count += 1;
            if norm == Some(NormPosition::AfterActivation) {
                if module == Module::Norm(at) {
                    return count;
                }
                count += 1;
            }
            count += usize::from(layer.dropout > 0.0);
        }
        count
    }

    /// The number of a module in one `Sequential`.
    fn counted(&self, module: Module, dropout: bool, first: usize) -> usize {
        if let Some(each) = &self.truth.each {
            return self.counted_each(module, each, first);
        }
        let step = 2 + usize::from(self.truth.has_norms()) + usize::from(dropout);
        let start = first + usize::from(self.truth.has_input_norm());
        match module {
            Module::InputNorm => first,
            Module::Linear(at) if self.truth.before_layers.is_some() => {
                start + at * step + usize::from(self.truth.has_norm(at))
            }
            Module::Norm(at) if self.truth.before_layers.is_some() => start + at * step,
            Module::Linear(at) => start + at * step,
            Module::Norm(at) => start + at * step + 1 + usize::from(self.truth.is_after()),
        }
    }

    /// The name of a module.
    fn name(&self, module: Module) -> String {
        let (at, is_norm) = match module {
            Module::InputNorm => (0, true),
            Module::Linear(at) => (at, false),
            Module::Norm(at) => (self.mixed.as_ref().map_or(at, |mixed| mixed[at]), true),
        };
        let (layer, norm) = (self.kinds[0], self.kinds[1]);
        let is_input = module == Module::InputNorm;
        let own = match (self.scheme, self.head) {
            (Scheme::Sequential { dropout, first }, _) => {
                self.counted(module, dropout, first).to_string()
            }
            (_, Some(head)) if module == Module::Linear(self.truth.hidden()) => head.to_owned(),
            (Scheme::Numbered, _) if is_input && self.start == 0 => format!("input_{norm}"),
            (Scheme::Numbered, _) if is_input => format!("{norm}0"),
            (Scheme::Numbered, _) => {
                format!("{}{}", if is_norm { norm } else { layer }, at + self.start)
            }
            (Scheme::Lists, _) if is_input => "norm_in".to_owned(),
            (Scheme::Lists, _) => format!("{}.{at}", if is_norm { "norms" } else { "layers" }),
            (Scheme::Words | Scheme::Told, _) if is_input => "input_norm".to_owned(),
            (Scheme::Words, _) if is_norm => format!("{}_norm", self.words[at]),
            (Scheme::Words | Scheme::Unrelated, _) if !is_norm => self.words[at].to_owned(),
            (Scheme::Words | Scheme::Unrelated, _) => {
                self.words[7 + at + usize::from(!is_input)].to_owned()
            }
            (Scheme::Blocks | Scheme::Nested, _) if is_input => "start.norm".to_owned(),
            (Scheme::Blocks, _) => format!("units.{at}.{}", if is_norm { "norm" } else { "fc" }),
            (Scheme::Nested, _) if self.truth.before_layers.is_some() => {
                format!("units.{at}.{}", usize::from(!is_norm && self.truth.has_norm(at)))
            }
            (Scheme::Nested, _) if is_norm => {
                let number = match self.truth.norm_of(at) {
                    Some((_, NormPosition::Input)) => 0,
                    Some((_, NormPosition::AfterActivation)) => 2,
                    Some(_) => 1,
                    None => 1 + usize::from(self.truth.is_after()),
                };
                format!("units.{at}.{number}")
            }
            (Scheme::Nested, _) => {
                let norm = self.truth.norm_of(at);
                let is_second = norm.is_some_and(|(_, at)| at == NormPosition::Input);
                format!("units.{at}.{}", usize::from(is_second))
            }
            (Scheme::Keras, _) => {
                let kind = self.truth.norm_of(at).map(|(kind, _)| kind).or(self.truth.norm);
                let class = match (is_norm, kind) {
                    (false, _) => "dense",
                    (true, Some(Norm::Batch)) => "batch_normalization",
                    (true, _) => "layer_normalization",
                };
                // Of layers that differ, norms are counted by their class.
                let is_before = |other: &usize| {
                    self.truth.norm_of(*other).is_some_and(|(other, _)| Some(other) == kind)
                };
                let at = match (&self.truth.each, is_norm) {
                    (Some(_), true) => (0..at).filter(is_before).count(),
                    _ => at,
                };
                let shift = usize::from(is_norm && !is_input && self.truth.has_input_norm());
                let offset = if is_norm { self.offset } else { self.start };
                match at + shift + offset {
                    0 => class.to_owned(),
                    number => format!("{class}_{number}"),
                }
            }
            (Scheme::Told, _) => {
                let word = match at {
                    0 => ["inp", "stem", "first"][self.offset],
                    _ if at == self.truth.hidden() => ["out", "head", "last"][self.offset],
                    _ => ["body", "mid", "hid", "trunk", "omega", "lima"][at % 6],
                };
                format!("{word}{}", if is_norm { "_norm" } else { "" })
            }
            (Scheme::Theta, _) => format!("theta{}", at + self.start),
            (Scheme::Handmade, _) => (at + self.start).to_string(),
            (Scheme::Pairs, _) if is_input => "in_norm".to_owned(),
            (Scheme::Pairs, _) => {
                format!("parts.{}.{}{}", at / 2, if is_norm { "norm" } else { "fc" }, at % 2 + 1)
            }
            (Scheme::Halves, _) if is_input => "norm_input".to_owned(),
            (Scheme::Halves, _) => {
                let half = self.truth.widths.len() / 2;
                let (name, at) = if at < half { ("enc", at) } else { ("dec", at - half) };
                format!("{name}.{at}{}", if is_norm { ".norm" } else { ".lin" })
            }
            (Scheme::Chaos, _) => {
                let number = (at * 7 + self.offset * 5 + 3) % 11 * 4 + usize::from(is_norm);
                format!("x{}", if is_input { 1 } else { number })
            }
        };
        format!("{}{own}", self.prefix)
    }

    fn names(&self, module: Module) -> Names {
        let name = self.name(module);
        let is_norm = !matches!(module, Module::Linear(_));
        let kind = match module {
            Module::Norm(at) => self.truth.norm_of(at).map(|(kind, _)| kind).or(self.truth.norm),
            _ => self.truth.norm,
        };
        let has_statistics = is_norm && kind == Some(Norm::Batch);
        let [weight, bias, mean, variance] = match (self.scheme, is_norm) {
            (Scheme::Keras, true) => {
                ["/gamma", "/beta", "/moving_mean", "/moving_variance"].map(|e| name.clone() + e)
            }
            (Scheme::Keras, false) => ["/kernel", "/bias", "", ""].map(|e| name.clone() + e),
            (Scheme::Handmade, true) if module == Module::InputNorm => {
                ["gamma", "beta", "running_mean", "running_var"].map(|e| format!("{e}_in"))
            }
            (Scheme::Handmade, true) => {
                ["gamma", "beta", "running_mean", "running_var"].map(|e| format!("{e}{name}"))
            }
            (Scheme::Handmade, false) => {
                let Module::Linear(at) = module else { return self.names(Module::Linear(0)) };
                let is_apart = self.apart && self.head.is_none();
                let bias = if is_apart { (at + self.start + 1).to_string() } else { name.clone() };
                [format!("W{name}"), format!("b{bias}"), String::new(), String::new()]
            }
            (Scheme::Theta, _) => [name.clone(), String::new(), String::new(), String::new()],
            _ => [".weight", ".bias", ".running_mean", ".running_var"].map(|e| name.clone() + e),
        };
        let statistic = |name| has_statistics.then_some(name);
        Names { weight, bias, mean: statistic(mean), variance: statistic(variance) }
    }
}

/// The modules in the order in which a program makes them.
fn made(random: &mut Random, truth: &Truth, scheme: Scheme) -> Vec<Module> {
    let is_free = !matches!(scheme, Scheme::Sequential { .. } | Scheme::Nested);
    // A norm may be made before the layer that it stands before, or behind it.
    let is_inline = !is_free || random.chance(50);
    let mut modules: Vec<Module> =
        if truth.has_input_norm() { vec![Module::InputNorm] } else { vec![] };
    for at in 0..=truth.hidden() {
        modules.push(Module::Linear(at));
        if truth.has_norm(at) {
            let is_before = truth.before_layers.is_some()
                || truth.norm_of(at).is_some_and(|(_, at)| at == NormPosition::Input);
            let place = modules.len() - usize::from(is_before && is_inline);
            modules.insert(place, Module::Norm(at));
        }
    }
    if scheme == Scheme::Lists || is_free && random.chance(30) {
        // All layers, and then all norms, or before them.
        let first = random.chance(30);
        modules.sort_by_key(|module| matches!(module, Module::Linear(_)) == first);
    }
    modules
}

fn tensors(
    random: &mut Random,
    truth: &Truth,
    names: &Names,
    module: Module,
    scheme: Scheme,
) -> Vec<Tensor> {
    let (at, is_norm) = match module {
        Module::InputNorm => (0, true),
        Module::Norm(at) => {
            let is_before = truth.before_layers.is_some()
                || truth.norm_of(at).is_some_and(|(_, at)| at == NormPosition::Input);
            (at + usize::from(!is_before), true)
        }
        Module::Linear(at) => (at, false),
    };
    let inputs = truth.widths[at] + usize::from(scheme == Scheme::Theta);
    let outputs = if is_norm { truth.widths[at] } else { truth.widths[at + 1] };
    let vector = match (scheme, random.below(3)) {
        (Scheme::Handmade, 0) => vec![1, outputs],
        (Scheme::Handmade, 1) => vec![outputs, 1],
        _ => vec![outputs],
    };
    let mut all = Vec::new();
    if is_norm {
        let others = [names.mean.as_ref(), names.variance.as_ref()].into_iter().flatten();
        let is_rms = matches!(module, Module::Norm(at)
            if truth.norm_of(at).is_some_and(|(kind, _)| kind == Norm::Rms));
        let bias = (!is_rms).then_some(&names.bias);
        let named = [&names.weight].into_iter().chain(bias).chain(others);
        return named.map(|name| Tensor::zeros(name, vector.clone())).collect();
    }
    let shape = match truth.layout {
        Layout::OutIn => vec![outputs, inputs],
        Layout::InOut => vec![inputs, outputs],
    };
    all.push(Tensor::zeros(&names.weight, shape));
    if truth.biases[at] && scheme != Scheme::Theta {
        all.push(Tensor::zeros(&names.bias, vector));
    }
    all
}

/// The order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Made,
    Modules,
    Tensors,
    Sorted,
    /// Modules as text, `fc10` before `fc2`.
    Text,
    /// From the last module to the first.
    Backwards,
}

/// One case; how it was called, whether its layers differ, and whether it was imported.
fn case(seed: u64) -> (Scheme, Order, bool, bool) {
    let mut random = Random(seed);
    let mut truth = Truth::random(&mut random);
    let namer = Namer::random(&mut random, &truth);
    let (scheme, prefix) = (namer.scheme, namer.prefix);
    let kind = match scheme {
        Scheme::Keras => Kind::KerasHdf5,
        Scheme::Handmade | Scheme::Theta => random.one(&[Kind::NumPy, Kind::PyTorch]),
        _ if namer.mixed.is_some() => Kind::PyTorch,
        _ => random.one(&[Kind::PyTorch, Kind::PyTorch, Kind::Safetensors, Kind::NumPy]),
    };
    let order = match scheme {
        // What is mixed up agrees with a shuffled file by chance, and with an alphabet.
        Scheme::Chaos => Order::Made,
        _ if namer.mixed.is_some() => Order::Made,
        _ if kind == Kind::Safetensors => Order::Sorted,
        _ => random.one(&[
            Order::Made,
            Order::Made,
            Order::Made,
            Order::Modules,
            Order::Tensors,
            Order::Sorted,
            Order::Text,
            Order::Backwards,
        ]),
    };
    let mut modules = made(&mut random, &truth, scheme);
    if namer.mixed.is_some() {
        modules.sort_by_key(|module| match module {
            Module::InputNorm => 0,
            Module::Linear(at) => 2 * at + 1,
            Module::Norm(at) => 2 * at + 2,
        });
    }
    let names: BTreeMap<Module, Names> =
        modules.iter().map(|&module| (module, namer.names(module))).collect();
    match kind {
        Kind::PyTorch if !matches!(scheme, Scheme::Handmade | Scheme::Theta) => {
            truth.layout = Layout::OutIn;
        }
        Kind::KerasHdf5 => truth.layout = Layout::InOut,
        _ => {}
    }
    let mut groups: Vec<Vec<Tensor>> = modules
        .iter()
        .map(|&module| tensors(&mut random, &truth, &names[&module], module, scheme))
        .collect();
    match order {
        Order::Modules => random.shuffle(&mut groups),
        Order::Text => groups.sort_by(|a, b| a[0].name.cmp(&b[0].name)),
        Order::Backwards => groups.reverse(),
        Order::Made | Order::Tensors | Order::Sorted => {}
    }
    let mut tensors = groups.concat();
    match order {
        Order::Tensors => random.shuffle(&mut tensors),
        Order::Sorted => tensors.sort_by(|a, b| a.name.cmp(&b.name)),
        Order::Made | Order::Modules | Order::Text | Order::Backwards => {}
    }
    let options = said(&mut random, &truth, scheme, order);
    let layout = match kind {
        Kind::PyTorch => Some(Layout::OutIn),
        Kind::KerasHdf5 => Some(Layout::InOut),
        _ => None,
    };
    let (network_of_file, labels, task) = (None, None, None);
    let (class_names, files, notes) = (Vec::new(), Vec::new(), Vec::new());
    let archive = Archive {
        kind,
        tensors,
        network: network_of_file,
        layout,
        labels,
        class_names,
        files,
        task,
        notes,
    };
    let epsilon = if kind == Kind::KerasHdf5 { EPSILON_OF_KERAS } else { EPSILON };
    let expected = match &truth.each {
        Some(each) => truth.layers_of_each(each, &names, epsilon).unwrap_or_default(),
        None => truth.layers(&names, epsilon),
    };
    // The biases are in the weights: there is no network of such tensors.
    let expected = if scheme == Scheme::Theta { Vec::new() } else { expected };
    match network(&archive, has_own_order(&archive.tensors), &options) {
        // What has no place is an error of its own.
        Ok(found) if uses(&found.network.layers) < archive.tensors.len() => {
            (scheme, order, truth.each.is_some(), false)
        }
        Ok(found) => {
            let context = || {
                format!(
                    "seed {seed}: {kind:?} {scheme:?} {prefix} {order:?} {truth:?} {options:?}\n{:?}",
                    archive.tensors
                )
            };
            assert_eq!(found.network.layers, expected, "{}", context());
            (scheme, order, truth.each.is_some(), true)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            (scheme, order, truth.each.is_some(), false)
        }
    }
}

/// How many tensors layers are made of.
fn uses(layers: &[Layer]) -> usize {
    let count = |layer: &Layer| match layer {
        Layer::Dense { bias, .. } => 1 + usize::from(bias.is_some()),
        Layer::Norm { scale, shift, mean, variance, .. } => {
            [scale, shift, mean, variance].into_iter().flatten().count()
        }
        Layer::Residual(inner) => uses(inner),
        _ => 0,
    };
    layers.iter().map(count).sum()
}

/// What a person who knows the network says of it, who may leave out what names tell.
fn said(random: &mut Random, truth: &Truth, scheme: Scheme, order: Order) -> Options {
    let (before, after) = (NormPosition::BeforeActivation, NormPosition::AfterActivation);
    let tells = matches!(scheme, Scheme::Sequential { .. } | Scheme::Nested);
    let mut norm_position = truth.positions.clone();
    let may_be_silent = tells || truth.positions == [before];
    if may_be_silent && random.chance(50) {
        norm_position = vec![];
    }
    let Truth { norm, residual, layout, .. } = *truth;
    // A slip that the numbers contradict.
    if matches!(scheme, Scheme::Sequential { dropout: false, .. })
        && truth.has_norms()
        && random.chance(10)
    {
        norm_position = vec![if truth.is_after() { before } else { after }];
        if truth.has_input_norm() {
            norm_position.push(NormPosition::Input);
        }
    }
    // A file order that is not the order of the layers is refused if names contradict it.
    let tells_order = !matches!(scheme, Scheme::Unrelated | Scheme::Words | Scheme::Chaos);
    let is_backwards = order == Order::Backwards && tells_order;
    // Who takes a shuffled file in its order is told so: four modules hardly look whole by chance.
    let is_seen = order == Order::Tensors
        && truth.hidden() > 2
        && truth.biases.iter().all(|has_bias| *has_bias);
    let by_order = (order == Order::Made || is_backwards || is_seen) && random.chance(30);
    let layout = random.chance(50).then_some(layout);
    if let Some(each) = &truth.each
        && truth.hidden() > 0
    {
        let is_plain = |layer: &HiddenLayer| {
            layer.norm == Norm::None && layer.skip.is_none() && layer.dropout == 0.0
        };
        if each.iter().all(is_plain) {
            let activation = each.iter().map(|layer| layer.activation).collect();
            return Options {
                activation,
                by_order,
                layout,
                no_residual: true,
                ..Options::default()
            };
        }
        let mut said = |layer: &HiddenLayer| SaidLayer {
            layer: HiddenLayer { width: random.one(&[0, layer.width]), ..layer.clone() },
            says_epsilon: layer.norm == Norm::Rms,
            says_slope: false,
        };
        let hidden = each.iter().map(&mut said).collect();
        let layers = Layers { hidden, output_bias: truth.biases[truth.hidden()] };
        return Options { layers: Some(layers), by_order, layout, ..Options::default() };
    }
    Options {
        activation: vec![Activation::Relu],
        norm,
        norm_position,
        residual,
        no_residual: !residual && random.chance(60),
        by_order,
        layout,
        ..Options::default()
    }
}

#[test]
fn a_network_is_the_one_that_was_made_or_none() {
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for seed in 0..CASES {
        let (scheme, order, differs, is_imported) = case(seed);
        let scheme = match scheme {
            Scheme::Sequential { .. } => "Sequential".to_owned(),
            scheme => format!("{scheme:?}"),
        };
        let each = if differs { " each" } else { "" };
        let count = counts.entry(format!("{scheme} {order:?}{each}")).or_default();
        count[0] += usize::from(is_imported);
        count[1] += 1;
    }
    // Names that tell, in the order in which programs write them, are enough.
    for (scheme, least) in [
        ("Sequential Made", 70),
        ("Numbered Made", 65),
        ("Lists Made", 60),
        ("Words Made", 50),
        ("Blocks Made", 55),
        ("Nested Made", 55),
        ("Keras Made", 70),
        ("Handmade Made", 60),
        ("Pairs Made", 55),
        ("Told Made", 40),
        ("Sequential Made each", 70),
        ("Numbered Made each", 70),
        ("Lists Made each", 60),
        ("Words Made each", 45),
        ("Blocks Made each", 60),
        ("Nested Made each", 60),
        ("Keras Made each", 60),
    ] {
        let [imported, all] = counts[scheme];
        assert!(imported * 100 >= all * least, "{scheme}: {imported} of {all} in {counts:?}");
    }
}
