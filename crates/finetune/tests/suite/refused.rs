//! Fine-tuning that is refused, and the warnings before the first step.

use fireclay::Model;
use safetensors::{Dtype, tensor::TensorView};

use crate::program::DIGITS;
use crate::tuned::{moved, place, place_with, read, tuned};

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

#[test]
fn a_flag_of_a_new_run_is_named_alone() {
    let place = place();
    for (line, flag) in [
        ("--resume x --strategy probe", "--strategy <NAME>"),
        ("--repeat x --activation relu", "--activation <NAMES>"),
        ("--resume x --baseline scratch", "--baseline <WHAT>"),
    ] {
        let refused = place.train(line);
        assert_eq!(refused.code, Some(2), "{line}");
        let said = refused.stderr;
        assert!(said.contains(&format!("cannot be used with '{flag}'")), "{said}");
        assert!(!said.contains("--from"), "{said}");
    }
}

#[test]
fn a_settings_file_of_a_tuned_run_is_not_offered_for_a_new_one() {
    let place = place();
    let (run, _) = tuned(&place, "run", "--epochs 1");
    let config = String::from_utf8(run.bytes("config.toml")).unwrap();
    let first = "# The resolved settings of this run; --resume and --repeat use them.\n";
    assert!(config.starts_with(first), "{config}");
    let said = place.train("--resume run --lr 0.5").failed(&["--from"]).stderr;
    assert!(!said.contains("--config"), "{said}");
    std::fs::write(run.path.join("config.toml"), config.replace("seed = 1", "seed = 2")).unwrap();
    let said = place.train("--resume run --epochs 2").failed(&["seed is 2 and was 1"]).stderr;
    assert!(!said.contains("--config"), "{said}");
    std::fs::remove_file(run.path.join("manifest.json")).unwrap();
    let said = place.train("--resume run").failed(&["no manifest.json", "--from"]).stderr;
    assert!(!said.contains("--config"), "{said}");
}

/// A network of 16 features, and nothing said of data or of how it is trained.
#[test]
fn a_default_that_was_not_asked_for_is_not_named() {
    let place = place();
    for (line, words) in [
        ("--from base.safetensors", "16 features; name the data to fine-tune on"),
        ("--from base.safetensors --data idx:digits --momentum 0.9", "--optimizer NAME"),
        ("--from base.safetensors --data idx:digits --set schedule.patience=1", "--schedule NAME"),
        ("--from base.safetensors --data idx:digits --freeze all", "nothing is left to train"),
        ("--from base.safetensors --data idx:digits --head 3", "--head 3"),
        ("--from base.safetensors --data idx:digits --lr head=-1", "--lr head=-1"),
        ("--from base.safetensors --data idx:digits --freeze head --lr head=1", "is frozen"),
    ] {
        let said = place.train(line).failed(&[words]).stderr;
        for default in
            ["mnist", "784", "adam", "cosine", "constant", "lp-ft", "--strategy", "0.003"]
        {
            assert!(!said.contains(default), "{line}: {default} in: {said}");
        }
    }
}

/// A Fireclay model as the start, a model of another program as the teacher.
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

/// A teacher's outputs are matched by name, and those of a Fireclay model may get other names.
#[test]
fn a_teacher_may_have_its_labels_in_another_order() {
    let place = place();
    std::fs::write(place.path("labels.txt"), "4\n3\n2\n1\n0\n").unwrap();
    place.train("import base.safetensors --labels labels.txt --to teacher.safetensors").succeeded();
    assert_eq!(read(&place.path("teacher.safetensors")).task.names(), ["4", "3", "2", "1", "0"]);
    let line = "--from base.safetensors --teacher teacher.safetensors --classes 0,1,2,3,4";
    place.train(&format!("{DIGITS} {line} --epochs 1 --name run")).succeeded();
    let [teacher, start, given] =
        ["runs/run/teacher.safetensors", "runs/run/start.safetensors", "teacher.safetensors"]
            .map(|name| read(&place.path(name)));
    assert_eq!(teacher.task.names(), start.task.names());
    let bias = |model: &Model| {
        let mut tensors = model.mlp.tensors().unwrap().into_iter();
        tensors.find(|tensor| tensor.name == "layers.2.bias").unwrap().values
    };
    let mut reversed = bias(&given);
    reversed.reverse();
    assert_eq!(bias(&teacher), reversed);

    // The same names for the start: then none of its labels is one of the data.
    std::fs::write(place.path("letters.txt"), "a\nb\nc\nd\ne\n").unwrap();
    let line = "--from base.safetensors --labels letters.txt --epochs 1 --name other";
    let said = place.train(&format!("{DIGITS} {line}")).succeeded().stdout;
    assert!(said.contains("A new head: 0, 1, 2"), "{said}");
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
        ("--from base.safetensors --hidden 3", &["--hidden"]),
        ("--from base.safetensors --set model.hidden=[3]", &["comes from the file"]),
        ("--from base.safetensors --activation relu", &["leave out --activation"]),
        ("--from base.safetensors --preprocessing scale", &["leave out --preprocessing"]),
        ("--from base.safetensors --dropout 1", &["dropout", "below 1"]),
        ("--from base.safetensors --strategy mnist", &["lp-ft"]),
        ("--from base.safetensors --strategy lp-ft --epochs 1", &["--epochs 2"]),
        ("--from base.safetensors --lr layers.9=1", &["layers.9"]),
        ("--from base.safetensors --lr-decay 2", &["--lr-decay"]),
        ("--from base.safetensors --lora rank=2 --lora-on norms", &["norms"]),
        ("--from base.safetensors --temperature 0 --teacher base.safetensors", &["temperature"]),
        ("--from base.safetensors --teacher base.safetensors --epochs 2", &["the same outputs"]),
        ("--from base.safetensors --input-dropout 0.5", &["--input-dropout"]),
        ("--from base.safetensors --labels model.toml", &["has 2 lines, and the model 5 outputs"]),
        ("--from base.safetensors --set model.dropout=0.5", &["comes from the file"]),
        ("--from base.safetensors --config model.toml", &["model.toml", "comes from the file"]),
        ("--from base.safetensors --set data.preprocessing=standardize", &["data.preprocessing"]),
        ("--from base.safetensors --alpha 0.3", &["--teacher"]),
        ("--from base.safetensors --temperature 2", &["--teacher"]),
        ("--from base.safetensors --strategy probe --lora rank=2", &["--strategy probe"]),
        ("--from base.safetensors --strategy probe --lr body=1", &["is frozen"]),
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
        ("--resume base --strategy probe", &["cannot be used with"]),
        ("--resume base --lr body=1", &["leave out --lr of groups"]),
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
