//! What a run says before training: what was read, what the head is, what is trained.

use fireclay::{Ancestor, Architecture, NormPart, ParameterPath, Task};
use fireclay_terminal::{
    counted, digest_start, group, listed, names, printable, row, short, sizes, table, wrapped_at,
};
use train::optimizer::OptimizerConfig;
use train::tuning::Phase;

use crate::head::{MOST_NAMES, Swapped};
use crate::import::{Fate, Imported};
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::rescale::Rescaled;
use crate::score::Losses;

/// The table of what became of each tensor of a file, and what else there is to say.
pub(super) fn placed(imported: &Imported) -> String {
    let Imported { placed, notes, origin, .. } = imported;
    let mut rows = vec![row!["tensor", "shape", "type", "goes to", "how"]];
    for tensor in placed {
        let (path, how) = match &tensor.fate {
            Fate::Used { path, change } => (path.as_str(), change.as_str()),
            Fate::Skipped(why) => ("-", why.as_str()),
        };
        let name = printable(&tensor.name, 80);
        rows.push(row![name, sizes(&tensor.shape), tensor.dtype, path, how]);
    }
    let Ancestor { program, digest, .. } = origin;
    let (program, digest) = (printable(program, 200), digest_start(digest));
    let mut text = format!("{program}, {digest}\n{}", table(&rows));
    for note in notes {
        text += &format!("{}\n", wrapped_at(&format!("note: {}", printable(note, 600)), 0));
    }
    text
}

/// What the output layer is.
pub(super) fn head(swapped: &Swapped) -> String {
    let task: &Task = &swapped.model.task;
    if swapped.is_same {
        let kept = format!("The head is kept: {}", names(task.names(), MOST_NAMES));
        return match &swapped.rescaled[..] {
            [] => kept + &of_scaling(task, "the scaling of its targets too"),
            rescaled => wrapped_at(&format!("{kept}; {}", refitted(rescaled)), 0),
        };
    }
    let weights = match &swapped.kept[..] {
        [] if swapped.is_zero => "its weights start at zero".to_owned(),
        [] => "its weights are drawn".to_owned(),
        kept => format!("weights kept of {}", names(kept, MOST_NAMES)),
    };
    let scaling = match (&swapped.kept[..], &swapped.rescaled[..]) {
        ([], _) => of_scaling(task, "its targets are standardized on the training rows"),
        (_, []) => of_scaling(task, "these keep the scaling of their targets"),
        (_, rescaled) => format!("; {}", refitted(rescaled)),
    };
    let text = format!("A new head: {}; {weights}{scaling}", names(task.names(), MOST_NAMES));
    let Some(Losses { model, zero }) = swapped.left else { return text };
    let constant = match task {
        Task::Regression { .. } => "the mean of the targets",
        Task::Classification { .. } | Task::MultiLabel { .. } => "outputs of zero",
    };
    let note = format!(
        "note: on these rows the model's own outputs have a loss of {model:.3}, and {constant} \
         one of {zero:.3}, so its output layer is left; --head keep keeps it"
    );
    format!("{text}\n{}", wrapped_at(&note, 0))
}

/// How labels are matched that are only numbers on one side.
pub(super) fn by_place(model: &Task, data: &Task) -> String {
    let text = format!(
        "note: the outputs of the model ({}) and the targets of the data ({}) are matched by place, since \
         one side has only numbers",
        names(model.names(), MOST_NAMES),
        names(data.names(), MOST_NAMES)
    );
    wrapped_at(&text, 0)
}

/// Which scalings were fitted to the new rows, and what they were.
fn refitted(rescaled: &[Rescaled]) -> String {
    let each = listed(rescaled, 4, |Rescaled { target, before, after }| {
        let [was, is] = [before, after].map(|[mean, deviation]| {
            format!("mean {}, deviation {}", short((*mean).into()), short((*deviation).into()))
        });
        format!("{} ({was} before, {is} now)", printable(target, 40))
    });
    format!("the scaling is refitted to the new targets, which differ: {each}")
}

/// Note about the scaling of a task that has one.
fn of_scaling(task: &Task, text: &str) -> String {
    if task.scaling().is_some() { format!("; {text}") } else { String::new() }
}

/// Parameters that are trained at some time.
pub(super) fn trained(network: &Architecture, phases: &[Phase]) -> usize {
    let trained = network.trainable().into_iter().filter(|(path, _)| {
        let path = path.to_string();
        phases.iter().any(|phase| phase.rates.contains_key(&path))
    });
    trained.map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// The table of what is trained, and how fast.
pub(super) fn phases(
    network: &Architecture,
    phases: &[Phase],
    optimizer: &OptimizerConfig,
) -> String {
    let mut heading = row!["parameter", "shape", "numbers"];
    let mut first = 1;
    for phase in phases {
        heading.push(match phases.len() {
            1 => "learning rate".to_owned(),
            _ => format!("from epoch {first}"),
        });
        first += phase.epochs;
    }
    let mut rows = vec![heading];
    for (path, shape) in network.trainable() {
        let count: usize = shape.iter().product();
        let mut cells = row![path, sizes(&shape), group(count as u64)];
        cells.extend(phases.iter().map(|phase| match phase.rates.get(&path.to_string()) {
            Some(factor) => {
                format!("{:e}", round(factor * optimizer.learning_rate_of(path, network)))
            }
            None => "frozen".to_owned(),
        }));
        rows.push(cells);
    }
    let (trained, all) = (trained(network, phases), network.parameters());
    format!(
        "{}  trained: {} of {} ({:.2} %)\n",
        table(&rows),
        group(trained as u64),
        counted(all as u64, "parameter"),
        100.0 * trained as f64 / all as f64
    )
}

/// Says of norm biases that `biases` does not name them, where somebody might think so.
pub(super) fn of_norm_biases(plan: &Plan, network: &Architecture) -> String {
    let note = if lacks_norm_biases(&plan.freeze, network) {
        "--freeze biases freezes the biases of linear layers, and not those of norms, which are trained. \
         To freeze them too, add --freeze 'norms.*.bias'"
    } else if lacks_norm_biases(&plan.train, network) {
        "--train biases trains the biases of linear layers, and not those of norms. To train them \
         too, add --train 'norms.*.bias'"
    } else {
        return String::new();
    };
    wrapped_at(&format!("note: {note}"), 0)
}

/// Whether patterns have the word `biases`, and do not name all biases of norms.
fn lacks_norm_biases(patterns: &[Pattern], network: &Architecture) -> bool {
    let named = patterns.iter().flat_map(|pattern| pattern.paths(network).unwrap_or_default());
    let all = network.trainable().into_iter().map(|(path, _)| path);
    patterns.iter().any(Pattern::is_biases) && norm_biases(named) < norm_biases(all)
}

/// The number of biases of norms among parameters.
fn norm_biases(paths: impl Iterator<Item = ParameterPath>) -> usize {
    paths.filter(|path| matches!(path, ParameterPath::Norm(_, NormPart::Bias))).count()
}

/// To six digits, so that a product reads as it is meant.
fn round(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Placed;
    use fireclay::{Device, InputSpec, Model, Preprocessing, Provenance};

    #[test]
    fn names_from_a_file_can_not_move_the_cursor() {
        let hostile = "\u{1b}[2J\n\u{202e}".repeat(10_000);
        let origin = Ancestor { program: hostile.clone(), ..Ancestor::default() };
        let model = Model {
            mlp: fireclay::Mlp::init(&fireclay::MlpConfig::new([2], [], 2), 1, &Device::flex())
                .unwrap(),
            task: Task::numbered_classes(2),
            input: InputSpec::dense(&[2], Preprocessing::None),
            provenance: Provenance::default(),
        };
        let fate = Fate::Used { path: "layers.0.bias".to_owned(), change: "as is".to_owned() };
        let placed = vec![Placed { name: hostile.clone(), shape: vec![2], dtype: "f32", fate }];
        let notes = vec![hostile];
        let imported = Imported { model, origin, is_native: false, placed, notes };
        let text = super::placed(&imported);
        assert!(text.lines().count() < 20 && text.chars().count() < 1200, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}
