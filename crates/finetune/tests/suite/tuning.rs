//! The program as its users see it: what is trained and what is not, to the bit.

use std::time::{Duration, Instant};

use crate::program::{DIGITS, Run, write_digits};
use crate::tuned::{moved, place, place_with, remembered, train, tuned};

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
    let (run, _) = tuned(&place, "kept", "--epochs 2 --strategy full --keep-statistics");
    let names = moved(&run);
    assert!(names.contains(&"norms.0.weight".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("running_")), "{names:?}");
    let (run, _) = tuned(&place, "moved", "--epochs 2 --strategy full --dropout 0.25");
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
    let (run, _) = tuned(
        &place,
        "pulled",
        "--epochs 3 --strategy full --l2-sp 1000 --optimizer sgd --lr 1e-4",
    );
    let (free, _) = tuned(&place, "free", "--epochs 3 --strategy full --optimizer sgd --lr 1e-4");
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
fn a_run_that_was_killed_goes_on_to_the_same_bits() {
    let place = place();
    for (name, flags) in [
        ("default", ""),
        // What was the default before, as the settings of such a run have it.
        ("phases", "--strategy lp-ft --schedule constant"),
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
        assert!(said.contains("resuming after step"), "{name}: {said}");
        // A resumed run prints the same summary.
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
    // The run keeps its baseline, each time in a folder of its own.
    for (line, name) in [
        ("--repeat replay --name again", "again-scratch"),
        ("--resume replay --epochs 3", "replay-scratch-2"),
    ] {
        let said = place.train(line).warned(&["class 2: the network forgets"]).stdout;
        assert!(said.contains("from scratch"), "{line}:\n{said}");
        assert!(place.run(name).path.join("model.safetensors").exists(), "{name}");
    }
    let [first, again] = ["replay-scratch", "again-scratch"].map(|name| place.run(name));
    assert!(first.bytes("model.safetensors") == again.bytes("model.safetensors"));
    // With other labels alone the old head tells what the body still knows.
    let (_, said) = tuned(&place, "other", &format!("{new} {old}"));
    assert!(said.contains("after, with the old head on the tuned body"), "{said}");
    assert!(said.contains("its weights start at zero"), "{said}");
}

/// The head is trained for 20 epochs without being any better for the last of them.
#[test]
fn patience_and_plateaus_begin_anew_with_each_phase() {
    let place = place();
    let lp_ft = "--strategy lp-ft --epochs 40 --lr 0.3 --schedule constant";
    let line = format!("{DIGITS} --from base.safetensors --name patient {lp_ft} --patience 3");
    place.train(&line).warned(&["10 validation rows choose the epoch"]);
    let run = place.run("patient");
    assert!(run.test()["epoch"].as_u64().unwrap() > 20);
    assert_eq!(moved(&run).len(), 6);
    let flags =
        "--strategy lp-ft --epochs 40 --lr 0.3 --schedule plateau --set schedule.patience=0";
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
            "--strategy full --optimizer sgd --epochs 2 --teacher runs/ten/model.safetensors \
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
    let gone = ["cannot find the data", "old: not there", "--replay-data PATH"];
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
fn an_ensemble_is_tuned_with_all_its_members() {
    let place = place_with("--members 3 --hidden 12 --classes 0,1,2,3,4");
    let (run, said) = tuned(&place, "members", "--epochs 2 --recipe full");
    let all =
        ["layers.0.bias", "layers.0.weight", "layers.1.bias", "layers.1.weight", "members.weight"];
    assert_eq!(moved(&run), all);
    assert!(said.contains("weights kept of 0, 1, 2, 3, 4"), "{said}");
    // Each member has kept the rows of its old classes: of five of its ten.
    let (base, start) = (place.run("base"), run.model("start.safetensors"));
    let head = |model: &fireclay::Model| {
        let tensors = model.mlp.tensors().unwrap();
        tensors.into_iter().find(|tensor| tensor.name == "layers.1.weight").unwrap().values
    };
    let (old, new) = (head(&base.model("model.safetensors")), head(&start));
    assert_eq!((old.len(), new.len()), (3 * 5 * 12, 3 * 10 * 12));
    for member in 0..3 {
        let rows = 5 * 12;
        assert_eq!(new[2 * member * rows..][..rows], old[member * rows..][..rows], "{member}");
    }
    let (probe, _) = tuned(&place, "probe", "--epochs 1 --freeze all-but-head");
    assert_eq!(moved(&probe), ["layers.1.bias", "layers.1.weight"]);
    // The members of a model that predicts are those that were tuned.
    let predictor = run.model("model.safetensors").predictor().unwrap();
    assert_eq!(predictor.members(), 3);
}
