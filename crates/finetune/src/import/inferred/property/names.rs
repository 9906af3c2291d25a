//! Names that programs give to the tensors of a network, and these tensors in an archive.

use fireclay::{HiddenLayer, Norm, NormPosition};
use fireclay_formats::{Layout, Tensor};

use super::random::Random;
use super::truth::{Module, Truth};

/// The names of a module's tensors.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) weight: String,
    pub(super) bias: String,
    pub(super) mean: Option<String>,
    pub(super) variance: Option<String>,
}

/// How modules are called, and in which order they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
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
pub(super) struct Namer<'a> {
    pub(super) truth: &'a Truth,
    pub(super) scheme: Scheme,
    pub(super) prefix: &'static str,
    pub(super) words: Vec<&'static str>,
    pub(super) kinds: [&'static str; 2],
    pub(super) start: usize,
    pub(super) offset: usize,
    /// Whether biases are numbered from another number on than weights.
    pub(super) apart: bool,
    pub(super) head: Option<&'static str>,
    /// The layer that the name of each norm tells, if names are mixed up.
    pub(super) mixed: Option<Vec<usize>>,
}

impl<'a> Namer<'a> {
    pub(super) fn random(random: &mut Random, truth: &'a Truth) -> Self {
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
    pub(super) fn counted_each(&self, module: Module, each: &[HiddenLayer], first: usize) -> usize {
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
    pub(super) fn counted(&self, module: Module, dropout: bool, first: usize) -> usize {
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
    pub(super) fn name(&self, module: Module) -> String {
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
            (Scheme::Nested, _) => format!("units.{at}.{}", self.place_in_unit(at, is_norm)),
            (Scheme::Keras, _) => self.keras_name(at, is_norm, is_input),
            (Scheme::Told, _) => self.telling_name(at, is_norm),
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

    /// The number of a layer, or of its norm, in a unit of both.
    fn place_in_unit(&self, at: usize, is_norm: bool) -> usize {
        if self.truth.before_layers.is_some() {
            return usize::from(!is_norm && self.truth.has_norm(at));
        }
        let position = self.truth.norm_of(at).map(|(_, position)| position);
        match (is_norm, position) {
            (false, _) => usize::from(position == Some(NormPosition::Input)),
            (true, Some(NormPosition::Input)) => 0,
            (true, Some(NormPosition::AfterActivation)) => 2,
            (true, Some(_)) => 1,
            (true, None) => 1 + usize::from(self.truth.is_after()),
        }
    }

    /// The name of a layer or norm as Keras makes it, by its class and number.
    fn keras_name(&self, at: usize, is_norm: bool, is_input: bool) -> String {
        let kind = self.truth.norm_of(at).map(|(kind, _)| kind).or(self.truth.norm);
        let class = match (is_norm, kind) {
            (false, _) => "dense",
            (true, Some(Norm::Batch)) => "batch_normalization",
            (true, _) => "layer_normalization",
        };
        // Of layers that differ, norms are counted by their class.
        let at = match (&self.truth.each, is_norm) {
            (Some(_), true) => {
                let before = (0..at).filter_map(|other| self.truth.norm_of(other));
                before.filter(|(other, _)| Some(*other) == kind).count()
            }
            _ => at,
        };
        let shift = usize::from(is_norm && !is_input && self.truth.has_input_norm());
        let offset = if is_norm { self.offset } else { self.start };
        match at + shift + offset {
            0 => class.to_owned(),
            number => format!("{class}_{number}"),
        }
    }

    /// A name that tells the place of a layer in words.
    fn telling_name(&self, at: usize, is_norm: bool) -> String {
        let word = match at {
            0 => ["inp", "stem", "first"][self.offset],
            _ if at == self.truth.hidden() => ["out", "head", "last"][self.offset],
            _ => ["body", "mid", "hid", "trunk", "omega", "lima"][at % 6],
        };
        format!("{word}{}", if is_norm { "_norm" } else { "" })
    }

    pub(super) fn names(&self, module: Module) -> Names {
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
pub(super) fn made(random: &mut Random, truth: &Truth, scheme: Scheme) -> Vec<Module> {
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

pub(super) fn tensors(
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
