//! From a sketch and the tensors it names to a model.

use std::collections::BTreeMap;

use fireclay::{Ancestor, Device, Mlp, MlpConfig, Model, Preprocessing, Provenance, Task, nearest};
use fireclay_formats::{Archive, Dtype, Layout, Tensor};

use super::{
    Dense, Fate, ImportError, Imported, NormTensors, Options, Output, Placed, Sketch, TaskKind,
    each_names, is_named,
};

/// What is done where neither the file nor a flag says what outputs mean.
const UNSAID_TASK: &str = "the file does not say what its outputs mean: they are taken as logits of \
                           classes, or as --task says";

/// Builds the model; the origin is left to the caller.
pub(super) fn build(
    archive: &Archive,
    sketch: Sketch,
    options: &Options,
    device: &Device,
) -> Result<Imported, ImportError> {
    let mut tensors = Tensors::of(archive);
    let mut config = config(&tensors, &sketch, options)?;
    let statistics = tensors.statistics(&sketch, config.inputs())?;
    let preprocessing =
        preprocessing(options.preprocessing.as_ref(), sketch.affine, statistics.as_ref())?;
    // One output for two classes, unless it was said to be a label.
    let is_binary = sketch.output == Some(Output::Sigmoid)
        && config.outputs == 1
        && options.task != Some(TaskKind::MultiLabel);
    let kind = meaning(sketch.output, is_binary, options.task)?;
    let mut paths = Vec::new();
    let mlp = Mlp::from_tensors(&config, device, |path, shape| {
        paths.push(path.to_owned());
        tensors.take(path, shape, &sketch, options)
    })?;
    let names = paths.iter().map(String::as_str);
    each_names("--allow-missing", &options.allow_missing, "parameter of the network", names)?;
    let mut notes = archive.notes.clone();
    let mlp = if is_binary {
        notes.push("one sigmoid output is read as two classes, the second its own".to_owned());
        config.outputs = 2;
        two_classes(&mlp, &config, device)?
    } else {
        mlp
    };
    let labels = labels(archive, options, config.outputs)?;
    let task = match kind {
        Some(TaskKind::MultiLabel) => Task::MultiLabel { labels },
        Some(TaskKind::Regression) => Task::Regression { targets: labels },
        Some(TaskKind::Classification) => Task::Classification { labels },
        None => {
            notes.push(UNSAID_TASK.to_owned());
            Task::Classification { labels }
        }
    };
    preprocessing.validate(config.inputs())?;
    if sketch.standardize.is_some() {
        notes.push("the file standardises each feature itself, and so does the model".to_owned());
    } else if sketch.affine.is_some() {
        notes.push(format!("the file prepares features itself; all in all: {preprocessing:?}"));
    }
    let placed = tensors.placed(options)?;
    let program = concat!("fireclay ", env!("CARGO_PKG_VERSION")).to_owned();
    let provenance = Provenance { program, ..Provenance::default() };
    let model = Model { mlp, task, preprocessing, provenance };
    let origin = Ancestor::default();
    Ok(Imported { model, origin, is_native: false, placed, notes })
}

/// Mean and variance of each feature.
type Statistics = [Vec<f64>; 2];

/// What was said of raw features, then what the network itself does to them, `factor x + shift`, and
/// then `(x - mean) / sqrt(variance)` of each.
fn preprocessing(
    said: Option<&Preprocessing>,
    affine: Option<(f64, f64)>,
    statistics: Option<&Statistics>,
) -> Result<Preprocessing, ImportError> {
    let Some([means, variances]) = statistics else { return prepared(said, affine) };
    let before = match (said, affine) {
        (None, None) => Preprocessing::None,
        _ => prepared(said, affine)?,
    };
    let (scale, mean, deviation) = parts(&before)?;
    if scale <= 0.0 {
        return Err(ImportError::unsupported(
            format!("features are multiplied by {scale}"),
            "here the factor is above 0",
        ));
    }
    let shifted = means.iter().map(|each| (mean + each * deviation) / scale);
    let widened = variances.iter().map(|each| each.sqrt() * deviation / scale);
    Ok(Preprocessing::Standardize {
        mean: shifted.map(|each| each as f32).collect(),
        deviation: widened.map(|each| each as f32).collect(),
    })
}

/// What is the same for every feature, as `(scale x - mean) / deviation`.
fn parts(preprocessing: &Preprocessing) -> Result<(f64, f64, f64), ImportError> {
    match preprocessing {
        Preprocessing::None => Ok((1.0, 0.0, 1.0)),
        Preprocessing::Scale { scale } => Ok((f64::from(*scale), 0.0, 1.0)),
        Preprocessing::Normalize { scale, mean, deviation } => {
            Ok((f64::from(*scale), f64::from(*mean), f64::from(*deviation)))
        }
        Preprocessing::Standardize { .. } => Err(ImportError::unsupported(
            "the file prepares features itself",
            "they can not be standardised before",
        )),
    }
}

/// What was said, and then `factor x + shift`.
fn prepared(
    said: Option<&Preprocessing>,
    affine: Option<(f64, f64)>,
) -> Result<Preprocessing, ImportError> {
    let (said, factor, shift) = match (said, affine) {
        (Some(said), None) => return Ok(said.clone()),
        (said, Some((factor, shift))) => (said, factor, shift),
        (None, None) => {
            return Err(ImportError::Unsaid {
                what: "how raw features were prepared for the network".to_owned(),
                flag: "--preprocessing scale (bytes to [0, 1]) or --preprocessing none, or with \
                       --normalize MEAN,DEVIATION (of scaled bytes)"
                    .to_owned(),
            });
        }
    };
    let (scale, mean, deviation) = parts(said.unwrap_or(&Preprocessing::None))?;
    if mean == 0.0 && deviation == 1.0 && shift == 0.0 {
        return Ok(Preprocessing::Scale { scale: (scale * factor) as f32 });
    }
    if factor <= 0.0 {
        return Err(ImportError::unsupported(
            format!("the file multiplies features by {factor}"),
            "here the factor is above 0",
        ));
    }
    Ok(Preprocessing::Normalize {
        scale: scale as f32,
        mean: (mean - shift * deviation / factor) as f32,
        deviation: (deviation / factor) as f32,
    })
}

/// The network's description.
fn config(
    tensors: &Tensors<'_>,
    sketch: &Sketch,
    options: &Options,
) -> Result<MlpConfig, ImportError> {
    let mut widths = Vec::new();
    for Dense { weight, layout, .. } in &sketch.layers {
        let shape = &tensors.named(weight)?.shape;
        let [first, second] = shape[..] else {
            return Err(ImportError::unsupported(
                format!("tensor {weight} is {shape:?}"),
                "the weights of a layer have two dimensions",
            ));
        };
        let (inputs, outputs) = match layout {
            Layout::OutIn => (second, first),
            Layout::InOut => (first, second),
        };
        if let Some(&before) = widths.last()
            && before != inputs
        {
            return Err(ImportError::unsupported(
                format!(
                    "{weight} takes {inputs} inputs, and the layer before has {before} outputs"
                ),
                "layers must follow each other",
            ));
        }
        if widths.is_empty() {
            widths.push(inputs);
        }
        widths.push(outputs);
    }
    let (inputs, outputs) = match widths[..] {
        [inputs, .., outputs] => (inputs, outputs),
        _ => return Err(ImportError::NoLayers { tensors: tensors.all.len() }),
    };
    let hidden = widths[1..widths.len() - 1].to_vec();
    let activation = match (options.activation, sketch.activation) {
        (_, _) if hidden.is_empty() => fireclay::Activation::default(),
        (Some(given), Some(found)) if given != found => {
            return Err(ImportError::unsupported(
                format!("the file has the activation {found}, and --activation says {given}"),
                "leave it out",
            ));
        }
        (Some(given), _) => given,
        (None, Some(found)) => found,
        (None, None) => {
            return Err(ImportError::Unsaid {
                what: "which function follows its hidden layers".to_owned(),
                flag: "--activation relu, or another".to_owned(),
            });
        }
    };
    let shape =
        sketch.input_shape.clone().filter(|shape| shape.iter().product::<usize>() == inputs);
    let defaults = MlpConfig::new(shape.unwrap_or_else(|| vec![inputs]), hidden, outputs);
    let config = MlpConfig {
        activation,
        norm: sketch.norm.unwrap_or_default(),
        norm_epsilon: sketch.norm_epsilon.unwrap_or(defaults.norm_epsilon),
        dropout: sketch.dropout,
        input_dropout: sketch.input_dropout,
        ..defaults
    };
    if options.norm.is_some_and(|norm| norm != config.norm) {
        return Err(ImportError::unsupported(
            format!("the file has the normalisation {}", config.norm),
            "--norm says another",
        ));
    }
    config.validate()?;
    Ok(config)
}

/// The name of each output: as was said, as the file has it, or its number.
fn labels(
    archive: &Archive,
    options: &Options,
    outputs: usize,
) -> Result<Vec<String>, ImportError> {
    let (who, labels) = match (&options.labels, &archive.labels) {
        (Some(said), _) => ("--labels", said),
        (None, Some(found)) => ("the file", found),
        (None, None) => return Ok((0..outputs).map(|output| output.to_string()).collect()),
    };
    if labels.len() != outputs {
        let what = format!("{who} has {} names, and the network {outputs} outputs", labels.len());
        return Err(ImportError::unsupported(what, "give one name for each with --labels"));
    }
    Ok(labels.clone())
}

/// What the outputs mean: as was said, or as the file tells, which must not contradict each other.
fn meaning(
    output: Option<Output>,
    is_binary: bool,
    said: Option<TaskKind>,
) -> Result<Option<TaskKind>, ImportError> {
    let (end, told) = match output {
        Some(Output::Softmax) => ("softmax", TaskKind::Classification),
        Some(Output::Sigmoid) if is_binary => ("one sigmoid", TaskKind::Classification),
        Some(Output::Sigmoid) => ("sigmoids", TaskKind::MultiLabel),
        Some(Output::Identity) | None => return Ok(said),
    };
    match said {
        Some(said) if said != told => Err(ImportError::unsupported(
            format!(
                "the network in the file ends in {end}, for {}, and --task says {}",
                told.name(),
                said.name()
            ),
            "leave it out",
        )),
        _ => Ok(Some(told)),
    }
}

/// `sigmoid(z)` is the second of `softmax([0, z])`.
fn two_classes(mlp: &Mlp, config: &MlpConfig, device: &Device) -> Result<Mlp, ImportError> {
    let last = mlp.layers.len() - 1;
    let all = mlp.tensors().map_err(fireclay::ModelFileProblem::Device)?;
    let head = format!("layers.{last}.");
    Mlp::from_tensors(config, device, |path, _| {
        let found = all.iter().find(|tensor| tensor.name == path);
        let values = found.map(|tensor| tensor.values.clone()).unwrap_or_default();
        let before = if path.starts_with(&head) { values.len() } else { 0 };
        Ok([vec![0.0; before], values].concat())
    })
}

/// The tensors of the file and which of them have been taken.
struct Tensors<'a> {
    all: &'a [Tensor],
    by_name: BTreeMap<&'a str, &'a Tensor>,
    taken: BTreeMap<&'a str, (String, String)>,
}

impl<'a> Tensors<'a> {
    fn of(archive: &'a Archive) -> Self {
        let by_name = archive.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        Self { all: &archive.tensors, by_name, taken: BTreeMap::new() }
    }

    fn named(&self, name: &str) -> Result<&'a Tensor, ImportError> {
        self.by_name.get(name).copied().ok_or_else(|| self.missing(name))
    }

    fn missing(&self, path: &str) -> ImportError {
        let left = self.by_name.keys().filter(|name| !self.taken.contains_key(*name)).copied();
        let near = nearest(path, left).map(str::to_owned);
        ImportError::Missing { path: path.to_owned(), nearest: near }
    }

    /// The statistics by which the file standardises features itself.
    fn statistics(
        &mut self,
        sketch: &Sketch,
        inputs: usize,
    ) -> Result<Option<Statistics>, ImportError> {
        let Some(names) = &sketch.standardize else { return Ok(None) };
        let mut found: Statistics = Default::default();
        for (name, values) in names.iter().zip(&mut found) {
            let tensor = self.named(name)?;
            *values = tensor.to_f64()?;
            if values.len() == 1 {
                values.resize(inputs, values[0]);
            }
            if values.len() != inputs {
                return Err(ImportError::Shape {
                    name: name.clone(),
                    found: tensor.shape.clone(),
                    path: "preprocessing".to_owned(),
                    expected: vec![inputs],
                });
            }
            let how = ("preprocessing".to_owned(), "of each feature".to_owned());
            self.taken.insert(&tensor.name, how);
        }
        Ok(Some(found))
    }

    /// The numbers of a parameter, in our layout.
    fn take(
        &mut self,
        path: &str,
        shape: &[usize],
        sketch: &Sketch,
        options: &Options,
    ) -> Result<Vec<f32>, ImportError> {
        let (source, layout) = source(path, sketch);
        let Some(name) = source else {
            return self.absent(path, shape, sketch, options);
        };
        let tensor = self.named(name)?;
        let is_matrix = shape.len() == 2;
        let transposed = is_matrix && layout == Layout::InOut;
        let expected: Vec<usize> =
            if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        if tensor.shape != expected {
            return Err(ImportError::Shape {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                path: path.to_owned(),
                expected,
            });
        }
        let values = tensor.to_f32()?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(ImportError::NotFinite { name: name.to_owned() });
        }
        let mut changes = Vec::new();
        if transposed {
            changes.push("transposed".to_owned());
        }
        if tensor.dtype != Dtype::F32 {
            changes.push(format!("{} to f32", tensor.dtype.name()));
        }
        let change = if changes.is_empty() { "as is".to_owned() } else { changes.join(", ") };
        self.taken.insert(&tensor.name, (path.to_owned(), change));
        Ok(if transposed { transpose(&values, shape) } else { values })
    }

    /// What stands for a parameter that the file does not have.
    fn absent(
        &mut self,
        path: &str,
        shape: &[usize],
        sketch: &Sketch,
        options: &Options,
    ) -> Result<Vec<f32>, ImportError> {
        // A file that describes its network has told that there is none.
        let is_told = sketch.output.is_some();
        if !is_told && !is_named(path, &options.allow_missing) {
            return Err(self.missing(path));
        }
        let is_one = path.starts_with("norms.")
            && (path.ends_with(".weight") || path.ends_with(".running_var"));
        Ok(vec![f32::from(is_one); shape.iter().product()])
    }

    /// Whether it is a variance of which Keras uses a copy that is nowhere 0.
    fn is_floored(&self, name: &str) -> bool {
        let layer = name.strip_suffix("/variance");
        let copy = layer.map(|layer| format!("{layer}/floored_variance"));
        copy.is_some_and(|copy| self.taken.contains_key(copy.as_str()))
    }

    /// Every tensor and what became of it.
    fn placed(self, options: &Options) -> Result<Vec<Placed>, ImportError> {
        let mut unused = Vec::new();
        let placed = self.all.iter().map(|tensor| {
            let name = tensor.name.as_str();
            let fate = match self.taken.get(name) {
                Some((path, change)) => Fate::Used { path: path.clone(), change: change.clone() },
                None if self.is_floored(name) => {
                    Fate::Skipped("its floored copy is used, as Keras does".to_owned())
                }
                None if name.ends_with("num_batches_tracked") || name.ends_with("/count") => {
                    Fate::Skipped("a counter, which nothing here depends on".to_owned())
                }
                None if is_named(name, &options.allow_unused) => {
                    Fate::Skipped("left out, as --allow-unused says".to_owned())
                }
                None => {
                    unused.push(name.to_owned());
                    Fate::Skipped(String::new())
                }
            };
            let (shape, dtype) = (tensor.shape.clone(), tensor.dtype.name());
            Placed { name: name.to_owned(), shape, dtype, fate }
        });
        let placed: Vec<Placed> = placed.collect();
        if unused.is_empty() { Ok(placed) } else { Err(ImportError::Unused { names: unused }) }
    }
}

/// The tensor of a parameter by name, if it has one, and how it lies.
fn source<'s>(path: &str, sketch: &'s Sketch) -> (Option<&'s str>, Layout) {
    let mut parts = path.split('.');
    let kind = parts.next();
    let index: Option<usize> = parts.next().and_then(|part| part.parse().ok());
    let name = parts.next();
    let (Some(index), Some(name)) = (index, name) else { return (None, Layout::OutIn) };
    if kind == Some("layers") {
        let Some(Dense { weight, bias, layout }) = sketch.layers.get(index) else {
            return (None, Layout::OutIn);
        };
        return match name {
            "weight" => (Some(weight), *layout),
            _ => (bias.as_deref(), *layout),
        };
    }
    let Some(NormTensors { scale, shift, mean, variance }) = sketch.norms.get(index) else {
        return (None, Layout::OutIn);
    };
    let found = match name {
        "weight" => scale,
        "bias" => shift,
        "running_mean" => mean,
        _ => variance,
    };
    (found.as_deref(), Layout::OutIn)
}

/// `[inputs, outputs]` row by row to `[outputs, inputs]`, which is `shape`.
fn transpose(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let outputs = shape[0];
    (0..outputs).flat_map(|o| values.iter().skip(o).step_by(outputs.max(1)).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_features_comes_before_what_the_file_does() {
        let pixels = Preprocessing::PIXELS;
        let normal = Preprocessing::Normalize { scale: 0.5, mean: 2.0, deviation: 4.0 };
        let of = |said: Option<&Preprocessing>, affine| preprocessing(said, affine, None).unwrap();
        assert_eq!(of(Some(&pixels), None), pixels);
        assert_eq!(of(None, Some((0.25, 0.0))), Preprocessing::Scale { scale: 0.25 });
        // ((0.5 x - 2) / 4) 2 + 3, at x = 10: 4.5.
        let Preprocessing::Normalize { scale, mean, deviation } =
            of(Some(&normal), Some((2.0, 3.0)))
        else {
            unreachable!("there is a shift")
        };
        assert!(((scale * 10.0 - mean) / deviation - 4.5).abs() < 1e-6);
        assert!(matches!(preprocessing(None, None, None), Err(ImportError::Unsaid { .. })));
        assert!(preprocessing(None, Some((-1.0, 1.0)), None).is_err());
        // ((0.5 x - 2) / 4 - 1) / sqrt(9), at x = 10: -1 / 12.
        let statistics = [vec![1.0], vec![9.0]];
        let Preprocessing::Standardize { mean, deviation } =
            preprocessing(Some(&normal), None, Some(&statistics)).unwrap()
        else {
            unreachable!("there are statistics")
        };
        assert!(((10.0 - mean[0]) / deviation[0] + 1.0 / 12.0).abs() < 1e-6);
        assert!(preprocessing(None, None, Some(&statistics)).is_ok());
    }

    /// A network of one layer with so many outputs, imported.
    fn one_layer(
        outputs: usize,
        output: Output,
        labels: Option<&[&str]>,
        options: &Options,
    ) -> Result<Task, ImportError> {
        let weights = [vec![outputs, 3], vec![outputs]];
        let tensors = ["w", "b"].into_iter().zip(weights);
        let archive = Archive {
            kind: fireclay_formats::Kind::Onnx,
            tensors: tensors.map(|(name, shape)| Tensor::zeros(name, shape)).collect(),
            network: None,
            layout: None,
            labels: labels.map(|labels| labels.iter().map(|&label| label.to_owned()).collect()),
            task: None,
            notes: Vec::new(),
        };
        let bias = Some("b".to_owned());
        let layer = Dense { weight: "w".to_owned(), bias, layout: Layout::OutIn };
        let sketch = Sketch { layers: vec![layer], output: Some(output), ..Sketch::default() };
        let options = Options { preprocessing: Some(Preprocessing::None), ..options.clone() };
        Ok(build(&archive, sketch, &options, &Device::flex())?.model.task)
    }

    #[test]
    fn sigmoids_are_labels_and_one_alone_is_two_classes() {
        let of = |outputs, output, task: Option<TaskKind>| {
            one_layer(outputs, output, None, &Options { task, ..Options::default() })
        };
        use TaskKind::{Classification, MultiLabel, Regression};
        let labels = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let classes = Task::numbered_classes(2);
        for (outputs, output, said, expected) in [
            (1, Output::Sigmoid, None, classes.clone()),
            (1, Output::Sigmoid, Some(Classification), classes.clone()),
            (1, Output::Sigmoid, Some(MultiLabel), Task::MultiLabel { labels: labels(&["0"]) }),
            (2, Output::Sigmoid, None, Task::MultiLabel { labels: labels(&["0", "1"]) }),
            (2, Output::Softmax, None, classes),
            (1, Output::Identity, Some(Regression), Task::Regression { targets: labels(&["0"]) }),
        ] {
            let found = of(outputs, output, said).unwrap();
            assert_eq!(found, expected, "{outputs} {output:?} {said:?}");
        }
        for (outputs, output, said, words) in [
            (2, Output::Sigmoid, Classification, "sigmoids, for multi-label, and --task says"),
            (1, Output::Sigmoid, Regression, "one sigmoid, for classification, and --task says"),
            (2, Output::Softmax, MultiLabel, "softmax, for classification, and --task says multi"),
        ] {
            let error = of(outputs, output, Some(said)).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("leave it out"), "{error}");
        }
    }

    #[test]
    fn labels_of_the_file_are_taken_as_they_are() {
        let labels = ["a, b", "c"];
        let of = |outputs, options: &Options| {
            one_layer(outputs, Output::Softmax, Some(&labels), options)
        };
        let options = Options::default();
        assert_eq!(of(2, &options).unwrap().names(), labels);
        // Of one sigmoid there are two classes.
        let binary = one_layer(1, Output::Sigmoid, Some(&labels), &options).unwrap();
        assert_eq!(binary.names(), labels);
        let error = of(3, &options).unwrap_err().to_string();
        assert!(error.contains("the file has 2 names, and the network 3 outputs"), "{error}");
        let said = Options { labels: Some(vec!["x".to_owned(); 3]), ..options };
        assert_eq!(of(3, &said).unwrap().names(), ["x", "x", "x"]);
    }
}
