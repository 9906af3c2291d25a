//! The program as its users see it: what is trained and what is not, to the bit.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use fireclay::{Checkpoint, Model};
use safetensors::{Dtype, tensor::TensorView};

#[allow(dead_code, reason = "shared with the tests of `train`")]
#[path = "../../train/tests/support/program.rs"]
mod program;
use program::{DIGITS, Place, Run, write_digits};

/// A place with a trained model, `base.safetensors`, that knows the digits 0 to 4.
fn place() -> Place {
    place_with("--hidden 12,8 --classes 0,1,2,3,4")
}

fn place_with(network: &str) -> Place {
    let place = Place::new();
    train(&place, &format!("--name base --epochs 30 --lr 0.01 {network}"));
    std::fs::copy(place.path("runs/base/model.safetensors"), place.path("base.safetensors"))
        .unwrap();
    place
}

/// Runs `train` in this process.
fn train(place: &Place, line: &str) {
    let (data, out) = (place.path("digits"), place.path("runs"));
    let line = format!(
        "train -q --data idx:{} --validation 10 --out {} {line}",
        data.display(),
        out.display()
    );
    train::run(train::Args::parse_from(line.split_whitespace())).unwrap();
}

fn tensors(model: &Model) -> BTreeMap<String, Vec<u32>> {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    model.mlp.tensors().unwrap().into_iter().map(|t| (t.name, bits(t.values))).collect()
}

/// Fine-tunes the base on all ten digits.
fn tuned(place: &Place, name: &str, line: &str) -> (Run, String) {
    let line = format!("{DIGITS} --from base.safetensors --name {name} --lr 0.01 {line}");
    let outcome = place.train(&line).succeeded();
    (place.run(name), outcome.stdout)
}

/// Which tensors differ between start and result.
fn moved(run: &Run) -> Vec<String> {
    let (before, after) =
        (tensors(&run.model("start.safetensors")), tensors(&run.model("model.safetensors")));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    before.keys().filter(|name| before[*name] != after[*name]).cloned().collect()
}

/// Names of what the optimizer remembers in the last checkpoint.
fn remembered(run: &Run) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(run.path.join("checkpoints"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    let checkpoint = Checkpoint::load(files.last().unwrap()).unwrap();
    let names = checkpoint.tensors().filter_map(|(name, _)| name.strip_prefix("optimizer."));
    names.map(str::to_owned).collect()
}

#[test]
fn frozen_is_frozen() {
    let place = place();
    for (flags, expected) in [
        ("--freeze all-but-head", vec!["layers.2.bias", "layers.2.weight"]),
        ("--train biases", vec!["layers.0.bias", "layers.1.bias", "layers.2.bias"]),
        (
            "--freeze layers.1 --freeze regex:layers.0.bias",
            vec!["layers.0.weight", "layers.2.bias", "layers.2.weight"],
        ),
        // What would move a frozen weight if it were only left without a gradient.
        (
            "--freeze body --optimizer adamw --weight-decay 0.5",
            vec!["layers.2.bias", "layers.2.weight"],
        ),
        (
            "--freeze body --optimizer sgd --momentum 0.9 --weight-decay 0.1 --clip-norm 1",
            vec!["layers.2.bias", "layers.2.weight"],
        ),
        ("--freeze body --ema 0.9", vec!["layers.2.bias", "layers.2.weight"]),
    ] {
        let (run, _) =
            tuned(&place, &format!("run-{}", flags.len()), &format!("--epochs 2 {flags}"));
        assert_eq!(moved(&run), expected, "{flags}");
        for name in remembered(&run) {
            let path = name.rsplit_once('.').unwrap().0;
            assert!(expected.contains(&path), "{flags}: the optimizer remembers {name}");
        }
    }
}

#[test]
fn norms_and_dropout_of_frozen_layers_are_still() {
    let place = place_with("--hidden 12,8 --norm batch --dropout 0.4");
    let (run, _) = tuned(&place, "probe", "--epochs 2 --freeze all-but-head");
    assert_eq!(moved(&run), ["layers.2.bias", "layers.2.weight"]);
    let (run, _) = tuned(&place, "kept", "--epochs 2 --recipe full --keep-statistics");
    let names = moved(&run);
    assert!(names.contains(&"norms.0.weight".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("running_")), "{names:?}");
    let (run, _) = tuned(&place, "moved", "--epochs 2 --recipe full --dropout 0.25");
    assert_eq!(run.config()["model"]["dropout"].as_float(), Some(0.25));
    assert!(moved(&run).contains(&"norms.1.running_var".to_owned()));
}

#[test]
fn by_default_everything_is_trained_from_the_first_step() {
    let place = place();
    let (run, said) = tuned(&place, "default", "--epochs 4");
    assert_eq!(moved(&run).len(), 6);
    for words in [
        "tensor           shape  type  goes to          how",
        "A new head: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; weights kept of 0, 1, 2, 3, 4",
        "learning rate",
        "start, new head",
        "tuned",
    ] {
        assert!(said.contains(words), "no `{words}` in:\n{said}");
    }
    let config = run.config();
    let phases = config["tuning"]["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 1);
    let rates = phases[0]["rates"].as_table().unwrap();
    assert!(rates.len() == 6 && rates.values().all(|rate| rate.as_float() == Some(1.0)));
    assert_eq!(config["schedule"]["name"].as_str(), Some("cosine"));
    // The chain of parents.
    let base = place.run("base").model("model.safetensors");
    let model = run.model("model.safetensors");
    let digest = base.to_bytes().unwrap().1;
    assert_eq!(model.provenance.parent.as_deref(), Some(digest.as_str()));
    assert_eq!(model.provenance.ancestors[0].digest, digest);
    assert_eq!(model.provenance.ancestors[0].data, base.provenance.data);
    // A model tuned twice knows both.
    std::fs::copy(run.path.join("model.safetensors"), place.path("base.safetensors")).unwrap();
    let (again, _) = tuned(&place, "again", "--epochs 2");
    assert_eq!(again.model("model.safetensors").provenance.ancestors.len(), 2);
}

#[test]
fn rates_and_thawing_are_as_asked() {
    let place = place();
    let (run, _) = tuned(&place, "rates", "--epochs 1 --lr body=1e-4 --lr head=1e-2");
    let rates = run.config()["tuning"]["phases"][0]["rates"].clone();
    assert_eq!(rates["layers.0.weight"].as_float(), Some(1e-4 / 1e-2));
    assert_eq!(rates["layers.2.weight"].as_float(), Some(1.0));
    let (run, _) = tuned(&place, "thaw", "--epochs 3 --unfreeze-every 1epoch");
    assert_eq!(run.config()["tuning"]["phases"].as_array().unwrap().len(), 3);
    assert_eq!(moved(&run).len(), 6);
    // The first layer has trained for one epoch and not for three.
    let (run, _) =
        tuned(&place, "pulled", "--epochs 3 --recipe full --l2-sp 1000 --optimizer sgd --lr 1e-4");
    let (free, _) = tuned(&place, "free", "--epochs 3 --recipe full --optimizer sgd --lr 1e-4");
    let distance = |run: &Run| {
        let weights = |file| {
            let tensors = run.model(file).mlp.tensors().unwrap();
            tensors.into_iter().filter(|t| !t.name.starts_with("layers.2")).flat_map(|t| t.values)
        };
        let pairs = weights("start.safetensors").zip(weights("model.safetensors"));
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
    };
    assert!(distance(&run) < 0.9 * distance(&free), "{} {}", distance(&run), distance(&free));
}

#[test]
fn an_adapter_is_small_belongs_to_its_base_and_comes_off_without_a_trace() {
    use fireclay::{Adapter, AdapterError};
    let place = place();
    let (run, said) = tuned(&place, "lora", "--epochs 3 --lora rank=2,alpha=4,dropout=0.1,rs");
    let base = place.run("base").model("model.safetensors");
    let names = moved(&run);
    let expected = [
        "adapters.0.a",
        "adapters.0.b",
        "adapters.1.a",
        "adapters.1.b",
        "layers.2.bias",
        "layers.2.weight",
    ];
    assert_eq!(names, expected);
    let tuned = run.model("model.safetensors");
    let adapter = Adapter::load(&run.path.join("adapter.safetensors")).unwrap();
    let applied = base.with_adapter(&adapter).unwrap();
    assert_eq!(tensors(&applied), tensors(&tuned));
    assert_eq!(adapter.base(), base.to_bytes().unwrap().1);
    // Off, every tensor of the body is the base's.
    let off = Model { mlp: tuned.mlp.clone().without_adapters(), ..tuned };
    let (off, was) = (tensors(&off), tensors(&base));
    for name in ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"] {
        assert_eq!(off[name], was[name], "{name}");
    }
    assert!(said.contains(" merge --base"), "{said}");

    let merge = |flags: &str| {
        let line =
            format!("merge --adapter runs/lora/adapter.safetensors --data idx:digits {flags}");
        place.train(&line)
    };
    let outcome = merge("--base base.safetensors --to merged.safetensors").succeeded();
    assert!(outcome.stdout.contains("the same answer for 20 (100.00 %)"), "{}", outcome.stdout);
    let outcome = merge("--base base.safetensors --to no.safetensors --tolerance 0");
    assert!(outcome.code == Some(1) || outcome.stdout.contains("0.0e0"), "{}", outcome.stdout);
    assert_eq!(outcome.code == Some(1), !place.path("no.safetensors").exists());
    let other = place.run("lora").path.join("start.safetensors");
    merge(&format!("--base {} --to x.safetensors", other.display()))
        .refused(&["trained on the base", "this base is"]);
    merge("--to x.safetensors").refused(&["--base"]);
    // Neither of the two is written over, nor anything else that was not given up.
    let both = "--base base.safetensors --to";
    for target in ["base.safetensors", "./base.safetensors", "runs/lora/adapter.safetensors"] {
        merge(&format!("{both} {target} --force")).refused(&[target, "never replaces it"]);
    }
    merge(&format!("{both} merged.safetensors")).refused(&["merged.safetensors", "--force"]);
    merge(&format!("{both} digits/train-labels-idx1-ubyte --force")).refused(&["never replaces"]);
    merge(&format!("{both} merged.safetensors --force")).succeeded();
    merge(&format!("{both} .")).refused(&["a folder", "name a file"]);
    merge(&format!("{both} gone/x.safetensors")).refused(&["gone does not exist"]);
    // Without data on random rows, whatever the model takes.
    let line = "merge --base base.safetensors --adapter runs/lora/adapter.safetensors";
    let said = place.train(&format!("{line} --to random.safetensors")).succeeded().stdout;
    assert!(said.contains("on 1,000 random rows") && !said.contains("mnist"), "{said}");
    let random = read(&place.path("random.safetensors"));
    assert_eq!(tensors(&random), tensors(&read(&place.path("merged.safetensors"))));
    place
        .train(&format!("{line} --data mnist --to x.safetensors"))
        .refused(&["--data mnist", "16 features, and the data has 784"]);
    assert!(matches!(
        run.model("start.safetensors").with_adapter(&adapter),
        Err(AdapterError::Base { .. })
    ));
    // A model that holds its adapters is merged without its base, and tuned further only then.
    place
        .train(
            "merge --adapter runs/lora/model.safetensors --data idx:digits --to whole.safetensors",
        )
        .succeeded();
    let (merged, whole) =
        (read(&place.path("merged.safetensors")), read(&place.path("whole.safetensors")));
    assert_eq!(tensors(&merged), tensors(&whole));
    assert!(merged.mlp.architecture().lora.is_none());
    place
        .train(&format!("{DIGITS} --from runs/lora/model.safetensors"))
        .failed(&["merge --adapter"]);
}

fn read(path: &Path) -> Model {
    let device = fireclay::Backend::Flex.device(fireclay::DeviceChoice::Default).unwrap();
    Model::load(path, &device).unwrap()
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bits() {
    let place = place();
    for (name, flags) in [
        ("default", ""),
        // What was the default before, as the settings of such a run have it.
        ("phases", "--recipe lp-ft --schedule constant"),
        ("lora", "--lora rank=2,alpha=4,dropout=0.2"),
        (
            "pulled",
            "--l2-sp 0.1 --teacher base10.safetensors --replay 0.5 --replay-data idx:digits --dropout 0.3 --ema 0.9",
        ),
    ] {
        if name == "pulled" {
            train(&place, "--name ten --epochs 3 --hidden 20");
            std::fs::copy(
                place.path("runs/ten/model.safetensors"),
                place.path("base10.safetensors"),
            )
            .unwrap();
        }
        let flags = format!("--epochs 100 --batch-size 8 --checkpoint-every 3steps {flags}");
        let (whole, _) = tuned(&place, &format!("{name}-whole"), &flags);
        let line = format!("{DIGITS} --from base.safetensors --name {name}-cut --lr 0.01 {flags}");
        let mut child = place.command(&line).stdout(std::process::Stdio::null()).spawn().unwrap();
        let checkpoints = place.run(&format!("{name}-cut")).path.join("checkpoints");
        let started = Instant::now();
        while std::fs::read_dir(&checkpoints).map_or(0, Iterator::count) < 2 {
            assert!(started.elapsed() < Duration::from_secs(60), "{name}: no checkpoint");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let cut = place.run(&format!("{name}-cut"));
        assert!(
            !cut.path.join("model.safetensors").exists(),
            "{name}: it was too quick to be killed"
        );
        let said = place
            .train(&format!("--resume {name}-cut --checkpoint-every 3steps"))
            .succeeded()
            .stdout;
        assert!(said.contains("going on after step"), "{name}: {said}");
        // What is told at the end is told of a run that went on too.
        assert!(said.contains("tuned") && said.contains(" of "), "{name}: {said}");
        assert_eq!(said.contains("the old task, idx:digits"), name == "pulled", "{said}");
        for file in ["model.safetensors", "metrics.jsonl", "config.toml"] {
            assert!(cut.bytes(file) == whole.bytes(file), "{name}: {file}");
        }
        let said =
            place.train(&format!("--repeat {name}-cut --name {name}-again")).succeeded().stdout;
        assert!(said.contains("The model is identical"), "{name}: {said}");
        if name == "lora" {
            let again = place.run("lora-again").bytes("adapter.safetensors");
            for run in [&cut, &whole] {
                assert!(run.bytes("adapter.safetensors") == again);
            }
        }
    }
}

#[test]
fn what_was_known_is_compared_before_and_after() {
    let place = place();
    let new = "--epochs 2 --classes 5,6,7,8,9";
    let old = "--replay-data idx:digits --replay-classes 0,1,2,3,4";
    // Half of 20 training rows are added.
    let flags = format!("{new} {old} --replay 0.5 --baseline scratch");
    let line = format!("{DIGITS} --from base.safetensors --name replay --lr 0.01 {flags}");
    let said = place.train(&line).warned(&["class 2: the network forgets what it knew"]).stdout;
    let run = place.run("replay");
    assert!(said.contains("idx:digits: 30 training"), "{said}");
    for words in ["the old task, idx:digits", "before", "after  ", "from scratch"] {
        assert!(said.contains(words), "no `{words}` in:\n{said}");
    }
    assert_eq!(run.model("model.safetensors").task.outputs(), 10);
    let scratch = place.run("replay-scratch").model("model.safetensors");
    assert!(scratch.provenance.parent.is_none() && scratch.provenance.ancestors.is_empty());
    let said = place.train("--resume replay-scratch").failed(&["is finished"]).stdout;
    assert!(said.is_empty(), "{said}");
    // With other labels alone the old head tells what the body still knows.
    let (_, said) = tuned(&place, "other", &format!("{new} {old}"));
    assert!(said.contains("after, with the old head on the tuned body"), "{said}");
    assert!(said.contains("its weights start at zero"), "{said}");
}

/// The head is trained for 20 epochs without being any better for the last of them.
#[test]
fn patience_and_plateaus_begin_anew_with_each_phase() {
    let place = place();
    let lp_ft = "--recipe lp-ft --epochs 40 --lr 0.3 --schedule constant";
    let (run, _) = tuned(&place, "patient", &format!("{lp_ft} --patience 3"));
    assert!(run.test()["epoch"].as_u64().unwrap() > 20);
    assert_eq!(moved(&run).len(), 6);
    let flags = "--recipe lp-ft --epochs 40 --lr 0.3 --schedule plateau --set schedule.patience=0";
    let (run, _) = tuned(&place, "plateau", &format!("{flags} --metrics learning-rate"));
    let lines = run.split("training");
    let epochs = lines.iter().filter(|line| line["span"] == "epoch");
    let rates: Vec<f64> = epochs.filter_map(|line| line["learning-rate"].as_f64()).collect();
    assert_eq!(rates.len(), 40, "{:?}", lines.first());
    let rate = |epoch: usize| rates[epoch - 1];
    assert!(rate(20) < 0.3 && rate(21) == 0.3, "{rates:?}");
}

#[test]
fn the_teachers_share_does_not_depend_on_the_size_of_class_weights() {
    let place = place();
    train(&place, "--name ten --epochs 3 --hidden 20");
    let weighted = |name: &str, weight: &str| {
        let weights = [weight; 10].join(",");
        let flags = format!(
            "--recipe full --optimizer sgd --epochs 2 --teacher runs/ten/model.safetensors \
             --set loss.name=cross-entropy --set loss.class_weights=[{weights}]"
        );
        let model = tuned(&place, name, &flags).0.model("model.safetensors");
        model.mlp.tensors().unwrap().into_iter().flat_map(|t| t.values).collect::<Vec<_>>()
    };
    let (light, heavy) = (weighted("light", "1.0"), weighted("heavy", "8.0"));
    let largest = light.iter().zip(&heavy).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-5, "{largest}");
}

#[test]
fn an_adapter_fits_the_file_that_it_was_trained_on() {
    let place = place();
    let line = format!(
        "--data idx:{} --validation 10 --from base.safetensors --name lora --epochs 2 \
         --recipe full --dropout 0.3 --lora rank=2",
        place.path("digits").display()
    );
    place.train(&line).succeeded();
    let run = place.run("lora");
    let line = "merge --base base.safetensors --adapter runs/lora/adapter.safetensors --data \
                idx:digits --to merged.safetensors";
    place.train(line).succeeded();
    assert!(
        run.bytes("base.safetensors") == std::fs::read(place.path("base.safetensors")).unwrap()
    );
    // `train`, which knows no adapters, writes it too when it goes on with such a run.
    std::fs::remove_file(run.path.join("adapter.safetensors")).unwrap();
    let path = run.path.display().to_string();
    let args = ["train", "-q", "--resume", &path, "--epochs", "3"];
    train::run(train::Args::parse_from(args)).unwrap();
    assert!(run.path.join("adapter.safetensors").exists());
}

#[test]
fn the_models_in_the_folder_of_a_run_are_those_that_it_started_from() {
    let place = place();
    let old = "--replay-data idx:digits --replay-classes 0,1,2,3,4 --replay 0.5";
    train(&place, "--name ten --epochs 3 --hidden 20");
    train(&place, "--name other --epochs 1 --hidden 12,8 --classes 0,1,2,3,4 --seed 2");
    let line = format!("--epochs 2 --teacher runs/ten/model.safetensors {old}");
    let (run, _) = tuned(&place, "run", &line);
    for name in ["start.safetensors", "teacher.safetensors", "base.safetensors"] {
        let (path, whole) = (run.path.join(name), run.bytes(name));
        std::fs::write(&path, place.run("other").bytes("model.safetensors")).unwrap();
        for line in ["--resume run --epochs 4", "--repeat run"] {
            place.train(line).failed(&[
                name,
                "not the file that the run wrote",
                "put that one back",
            ]);
        }
        std::fs::write(&path, whole).unwrap();
    }
    let (lora, _) = tuned(&place, "lora", "--epochs 2 --lora rank=2");
    let manifest: serde_json::Value = serde_json::from_slice(&lora.bytes("manifest.json")).unwrap();
    let names: Vec<&String> = manifest["files"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["adapter.safetensors", "base.safetensors", "start.safetensors"]);
    for (name, words) in [
        ("adapter.safetensors", "not the file that the run wrote"),
        ("model.safetensors", "not the model that the run ended with"),
    ] {
        let (path, whole) = (lora.path.join(name), lora.bytes(name));
        let other = place.run("other").bytes("model.safetensors");
        std::fs::write(&path, &other).unwrap();
        place.train("--resume lora --epochs 4").failed(&[name, words, "put that one back"]);
        assert_eq!(lora.bytes(name), other);
        std::fs::write(&path, whole).unwrap();
    }

    // What is replayed may move too, by itself.
    write_digits(&place.path("old"));
    let line = "--epochs 2 --replay-data idx:old --replay-classes 0,1,2,3,4 --replay 0.5";
    let (replaying, _) = tuned(&place, "replaying", line);
    std::fs::rename(place.path("old"), place.path("older")).unwrap();
    let gone = ["cannot find the data", "old: no such folder", "--replay-data idx:FOLDER"];
    place.train("--repeat replaying").failed(&gone);
    let flag = "--replay-data idx:older";
    let said = place.train(&format!("--repeat replaying {flag}")).succeeded().stdout;
    assert!(said.contains("The model is identical"), "{said}");
    place.train(&format!("--resume replaying --epochs 3 {flag}")).succeeded();
    place.train("--resume replaying --epochs 4").succeeded();
    assert_eq!(replaying.split("validation").len(), 4);
    place.train(&format!("--repeat lora {flag}")).failed(&["replays no other data"]);
}

#[test]
fn biases_are_those_of_linear_layers_and_it_is_said() {
    let place = place_with("--hidden 12,8 --norm layer");
    let (run, said) = tuned(&place, "frozen", "--epochs 1 --freeze biases");
    assert!(said.contains("note: --freeze biases freezes the biases of linear layers"), "{said}");
    assert!(moved(&run).contains(&"norms.0.bias".to_owned()));
    let (run, said) = tuned(&place, "both", "--epochs 1 --freeze biases --freeze norms.*.bias");
    assert!(!said.contains("note: --freeze"), "{said}");
    assert!(moved(&run).iter().all(|name| name.ends_with(".weight")), "{:?}", moved(&run));
    let (_, said) = tuned(&place, "trained", "--epochs 1 --train biases");
    assert!(said.contains("note: --train biases"), "{said}");
}

#[test]
fn what_goes_wrong_in_the_end_is_told_in_the_beginning() {
    let place = place();
    std::fs::create_dir_all(place.path("runs/late-scratch")).unwrap();
    for (line, words) in [
        ("--replay-data mnits", &["mnits"][..]),
        ("--replay-data mnist", &["mnist", "16 features", "784"]),
        ("--replay-data idx:digits --replay 100", &["at most"]),
        ("--name late --baseline scratch", &["late-scratch", "exists already"]),
    ] {
        let before = place.tree();
        place.train(&format!("{DIGITS} --from base.safetensors {line}")).failed(words);
        assert_eq!(place.tree(), before, "{line}");
    }
}

/// A network of 16 features, and nothing said of data or of how it is trained.
#[test]
fn a_default_that_was_not_asked_for_is_not_named() {
    let place = place();
    for (line, words) in [
        ("--from base.safetensors", "16 features; say with --data"),
        ("--from base.safetensors --data idx:digits --momentum 0.9", "--optimizer NAME"),
        ("--from base.safetensors --data idx:digits --set schedule.patience=1", "--schedule NAME"),
        ("--from base.safetensors --data idx:digits --freeze all", "nothing is left to train"),
        ("--from base.safetensors --data idx:digits --head 3", "--head 3"),
        ("--from base.safetensors --data idx:digits --lr head=-1", "--lr head=-1"),
        ("--from base.safetensors --data idx:digits --freeze head --lr head=1", "is frozen"),
    ] {
        let said = place.train(line).failed(&[words]).stderr;
        for default in ["mnist", "784", "adam", "cosine", "constant", "lp-ft", "--recipe", "0.003"]
        {
            assert!(!said.contains(default), "{line}: {default} in: {said}");
        }
    }
}

/// One of ours as the start, one of another program as the teacher.
#[test]
fn what_is_said_of_a_file_is_said_of_the_teacher_if_the_start_says_all() {
    let place = place();
    let teacher = read(&place.path("base.safetensors"));
    let tensors = teacher.mlp.tensors().unwrap();
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|t| (t.name, t.shape, t.values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    let foreign = safetensors::serialize(views, None).unwrap();
    std::fs::write(place.path("foreign.safetensors"), foreign).unwrap();
    let labels = "0\n1\n2\n3\n4\n";
    std::fs::write(place.path("labels.txt"), labels).unwrap();
    let line = "--epochs 2 --classes 0,1,2,3,4 --teacher foreign.safetensors --labels labels.txt \
                --preprocessing scale --layout out-in";
    let from = "--from base.safetensors";
    place.train(&format!("{DIGITS} {from} {line}")).failed(&["--activation relu"]);
    place.train(&format!("{DIGITS} {from} {line} --activation relu")).succeeded();
}

#[test]
fn what_can_not_be_is_refused_in_words() {
    let place = place();
    std::fs::write(place.path("noise.pt"), b"\x91\x00not a model").unwrap();
    std::fs::write(place.path("model.toml"), "[model]\nhidden = [3]\n").unwrap();
    let before = place.tree();
    for (line, words) in [
        ("", &["--from", "--resume"][..]),
        ("--from nowhere.pt", &["nowhere.pt"]),
        ("--from noise.pt", &["noise.pt", "no kind of file"]),
        ("--from .", &["a folder"]),
        ("--from base.safetensors --freeze layers.9", &["layers.9", "names no parameter"]),
        ("--from base.safetensors --freeze all", &["nothing is left to train"]),
        ("--from base.safetensors --head 7", &["--head 7", "10 labels"]),
        ("--from base.safetensors --head keep", &["`5`"]),
        ("--from base.safetensors --head missing.txt", &["missing.txt"]),
        ("--from base.safetensors --hidden 3", &["comes from the file"]),
        ("--from base.safetensors --activation relu", &["leave out --activation"]),
        ("--from base.safetensors --preprocessing scale", &["leave out --preprocessing"]),
        ("--from base.safetensors --dropout 1", &["dropout", "below 1"]),
        ("--from base.safetensors --recipe mnist", &["lp-ft"]),
        ("--from base.safetensors --recipe lp-ft --epochs 1", &["--epochs 2"]),
        ("--from base.safetensors --lr layers.9=1", &["layers.9"]),
        ("--from base.safetensors --lr-decay 2", &["--lr-decay"]),
        ("--from base.safetensors --lora rank=2 --lora-on norms", &["norms"]),
        ("--from base.safetensors --temperature 0 --teacher base.safetensors", &["temperature"]),
        ("--from base.safetensors --teacher base.safetensors --epochs 2", &["same labels"]),
        ("--from base.safetensors --input-dropout 0.5", &["leave it out"]),
        ("--from base.safetensors --set model.dropout=0.5", &["comes from the file"]),
        ("--from base.safetensors --config model.toml", &["model.toml", "comes from the file"]),
        ("--from base.safetensors --set data.preprocessing=standardize", &["data.preprocessing"]),
        ("--from base.safetensors --alpha 0.3", &["--teacher"]),
        ("--from base.safetensors --temperature 2", &["--teacher"]),
        ("--from base.safetensors --recipe probe --lora rank=2", &["--recipe probe"]),
        ("--from base.safetensors --recipe probe --lr body=1", &["is frozen"]),
        ("--from base.safetensors --lora rank=2 --lora-on layers.1 --lora-on biases", &["biases"]),
        ("--from base.safetensors --lora rank=1000000000000", &["at most 12", "give rank=12"]),
        ("--from base.safetensors --lora rank=13", &["--lora rank=13", "give rank=12"]),
        ("--from base.safetensors --lora rank=9 --lora-on layers.1", &["at most 8"]),
        ("--from base.safetensors --lr head=-1", &["--lr head=-1:", "above 0"]),
        ("--from base.safetensors --lr head=-1e-3", &["--lr head=-1e-3:", "above 0"]),
        ("--from base.safetensors --lr body=inf", &["--lr body=inf:"]),
        ("--from base.safetensors --labels /dev/zero --task regression", &["a device"]),
        ("--from base.safetensors --head digits", &["digits", "a folder"]),
        ("--from base.safetensors --unfreeze-every 18446744073709551615", &["--epochs"]),
        ("--from base.safetensors --freeze last:18446744073709551615", &["nothing is left"]),
        ("--resume base --from base.safetensors", &["cannot be used with"]),
        ("--resume base --freeze body", &["cannot be used with"]),
        ("--resume base --teacher base.safetensors", &["cannot be used with"]),
        ("--resume base --map a=b", &["cannot be used with"]),
        ("--resume base --recipe probe", &["leave out --recipe"]),
        ("--resume base --lr body=1", &["leave out --recipe and --lr"]),
        ("merge --adapter base.safetensors --to x", &["no adapters"]),
        ("merge --base base.safetensors --adapter base.safetensors --to x", &["not an adapter"]),
        ("import noise.pt --to x", &["no kind of file"]),
        ("import noise.pt --to noise.pt --force", &["never replaces it"]),
        ("import noise.pt --to base.safetensors", &["base.safetensors", "--force"]),
        ("import noise.pt --to digits", &["a folder"]),
        ("import noise.pt --to gone/x", &["gone does not exist"]),
        ("import noise.pt --labels model.toml --to model.toml --force", &["never replaces it"]),
        ("--from base.safetensors --set schedule.patience=1", &["--schedule NAME"]),
    ] {
        let line = match line {
            _ if line.starts_with("merge") || line.starts_with("import") => line.to_owned(),
            _ => format!("{DIGITS} {line}"),
        };
        place.train(&line).failed(words);
        let left: Vec<_> =
            place.tree().into_keys().filter(|path| !before.contains_key(path)).collect();
        assert!(left.is_empty(), "{line} left {left:?} behind");
    }
}
