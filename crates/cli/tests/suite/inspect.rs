//! `fireclay inspect`, of our own files and those of others.

use std::fs;

use crate::program::{DIGITS, Outcome, Place};
use crate::support::{does, is_plain, json, of_crate, small};

#[test]
fn files_of_our_own_are_told_apart_and_checked() {
    let place = small();
    let said = does(&place, "inspect runs/small");
    is_plain(&said);
    for words in [
        "runs/small/model.safetensors: Fireclay model\n",
        ", valid\n",
        "  network       16-128-10 relu, 3,466 parameters\n",
        "  input         4x4\n",
        "  task          classification: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n",
        "  preprocessing x * 0.003921569\n",
        "  trained on    idx:digits\n",
        "  tensors       4, 3,466 numbers\n",
        "No anomalies.\n",
    ] {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let checkpoint = fs::read_dir(place.path("runs/small/checkpoints")).unwrap();
    let checkpoint = checkpoint.map(|entry| entry.unwrap().path()).max().unwrap();
    let found = json(&place, &format!("inspect --json {}", checkpoint.display()));
    assert_eq!(found["kind"], "Fireclay checkpoint");
    assert_eq!(found["digest"]["is_valid"], true);
    let said = does(&place, &format!("inspect {}", checkpoint.display()));
    assert!(said.contains("  run           epochs 30, rollbacks 0, step 60\n"), "{said}");

    let tune = format!(
        "finetune --from runs/small/model.safetensors {DIGITS} --epochs 1 --lora rank=2,alpha=4 --name tuned -q"
    );
    does(&place, &tune);
    let said = does(&place, "inspect runs/tuned/adapter.safetensors");
    assert!(said.contains("Fireclay adapter") && said.contains("(required)"), "{said}");
    let line = "predict runs/tuned/adapter.safetensors digits";
    place.train(line).refused(&["is an adapter", "--adapter runs/tuned/adapter.safetensors"]);

    let mut bytes = fs::read(place.path("runs/small/model.safetensors")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(place.path("damaged.safetensors"), &bytes).unwrap();
    let said = does(&place, "inspect damaged.safetensors");
    assert!(said.contains("NOT VALID") && said.contains("the file is damaged"), "{said}");
    assert_eq!(place.train("inspect damaged.safetensors --strict").code, Some(1));
    assert_eq!(place.train("inspect runs/small --strict").code, Some(0));
    fs::write(place.path("cut.safetensors"), &bytes[..last]).unwrap();
    let cut = place.train("inspect cut.safetensors");
    assert!(cut.stdout.contains("Anomalies:"), "{}", cut.stdout);
}

#[test]
fn files_of_other_programs_are_told_without_running_them() {
    let place = Place::new();
    for (file, kind, words) in [
        ("formats/tests/goldens/keras/rich.keras", "Keras file", "dense"),
        ("formats/tests/goldens/keras/plain.h5", "Keras HDF5 file", "dense"),
        ("formats/tests/goldens/onnx/plain.onnx", "ONNX file", "dense"),
        ("formats/tests/goldens/burn/plain.bpk", "Burn file", "tensors"),
        ("finetune/tests/goldens/batch.pt", "PyTorch file", "running_mean"),
    ] {
        let path = of_crate("..").join(file);
        let said = does(&place, &format!("inspect {}", path.display()));
        assert!(said.contains(&format!(": {kind}\n")), "{file}: {said}");
        // The first line has the path, however long it is.
        is_plain(said.split_once('\n').unwrap().1);
        assert!(said.contains(words), "{file}: {said}");
        assert!(said.contains("`fireclay finetune`"), "{file}: {said}");
        let found = json(&place, &format!("inspect {} --json", path.display()));
        assert!(found["numbers"].as_u64().unwrap() > 0, "{file}");
        assert_eq!(found["sha256"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn what_a_file_would_do_is_not_done_and_is_told() {
    let place = Place::new();
    // A legacy file of PyTorch: its magic number, its version, the system it is of, and then what it
    // holds, which is a call.
    let evil = [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..],
        b"\x80\x02M\xe9\x03.",
        b"\x80\x02}.",
        b"\x80\x02cos\nsystem\n(X\x09\0\0\0touch pwntR.",
    ];
    fs::write(place.path("evil.pt"), evil.concat()).unwrap();
    let evil = place.train("inspect evil.pt");
    assert_eq!(evil.code, Some(2));
    assert!(evil.stdout.contains("os.system"), "{}", evil.stdout);
    assert!(evil.stderr.contains("cannot be read"), "{}", evil.stderr);
    assert!(!place.path("pwn").exists());
    fs::write(place.path("empty"), "").unwrap();
    fs::write(place.path("escape\u{1b}[31m"), "hello\u{1b}[2J").unwrap();
    for (file, kind) in [("empty", "refused file"), ("escape\u{1b}[31m", "unknown file")] {
        let Outcome { code, stdout, stderr, .. } = place.train(&format!("inspect {file}"));
        assert_eq!(code, Some(2), "{file}");
        assert!(stdout.contains(kind), "{stdout}");
        assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "{stdout}{stderr}");
    }
    place.train("inspect gone.pt").refused(&["gone.pt"]);
    place.train("inspect digits").refused(&["is a folder without model.safetensors"]);
}

/// Every door that takes a model says the same of a file of another program.
#[test]
fn a_file_of_another_kind_is_named_at_every_door() {
    let place = small();
    let ours = "runs/small/model.safetensors";
    fs::write(place.path("other.gguf"), [b"GGUF\x03\0\0\0".to_vec(), vec![7; 300]].concat())
        .unwrap();
    fs::create_dir(place.path("saved")).unwrap();
    fs::write(place.path("saved/saved_model.pb"), b"").unwrap();
    let tensors = of_crate("../formats/tests/goldens/pytorch/key-net.pt");
    fs::copy(tensors, place.path("net.pt")).unwrap();
    for door in [
        "predict NAME x.csv".to_owned(),
        "evaluate NAME --data idx:digits".to_owned(),
        format!("compare NAME {ours} --data idx:digits"),
        format!("compare {ours} NAME --data idx:digits"),
        "finetune merge --adapter NAME --to o.safetensors".to_owned(),
        format!("finetune merge --base NAME --adapter {ours} --to o.safetensors"),
        "finetune import NAME --to o.safetensors".to_owned(),
        format!("finetune --from NAME {DIGITS}"),
    ] {
        let at = |name: &str| place.train(&door.replace("NAME", name));
        at("other.gguf").refused(&["other.gguf: this is a GGUF file; start from"]);
        at("saved").refused(&["saved: this is a SavedModel of TensorFlow; convert it"]);
        if !door.contains("import") && !door.contains("--from") {
            at("net.pt")
                .refused(&["net.pt is a PyTorch file, not a model of Fireclay", "import net.pt"]);
        }
    }
    for door in [
        format!("evaluate {ours} --data idx:digits --adapter NAME"),
        format!("finetune merge --base {ours} --adapter NAME --to o.safetensors"),
    ] {
        let at = |name: &str| place.train(&door.replace("NAME", name));
        at("other.gguf").refused(&["other.gguf: this is a GGUF file; start from"]);
        at("net.pt").refused(&["net.pt is a PyTorch file, not an adapter of Fireclay"]);
    }
    let inspected = place.train("inspect other.gguf");
    assert_eq!(inspected.code, Some(2));
    assert!(inspected.stdout.contains("this is a GGUF file"), "{}", inspected.stdout);
    place.train("inspect saved").refused(&["this is a SavedModel of TensorFlow"]);
    let line = format!("finetune --from {ours} --teacher other.gguf {DIGITS}");
    place.train(&line).failed(&["other.gguf: this is a GGUF file"]);
}

#[test]
fn networks_of_a_checkpoint_are_looked_at_together_or_one_by_one() {
    let place = Place::new();
    for file in ["several.pt", "net.pt"] {
        let golden = file.replace("net", "key-net");
        let golden = of_crate("../formats/tests/goldens/pytorch").join(golden);
        fs::copy(golden, place.path(file)).unwrap();
    }
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let all = words(does(&place, "inspect several.pt --strict"));
    assert!(all.contains("model.0.weight") && all.contains("ema.0.weight"), "{all}");
    assert!(all.contains("--key NAME") && all.matches("several networks").count() == 1, "{all}");
    let one = words(does(&place, "inspect several.pt --key ema"));
    assert!(one.contains(" 0.weight") && !one.contains("several networks"), "{one}");
    place.train("inspect several.pt --key gone").failed(&[]);
    let import =
        "finetune import several.pt --activation relu --preprocessing none --task regression";
    place.train(&format!("{import} --to o.safetensors")).refused(&[
        "\"model\"",
        "\"ema\"",
        "--key",
    ]);
    does(&place, &format!("{import} --key ema --to o.safetensors"));
    place.train("inspect o.safetensors --key ema").refused(&["leave out --key"]);
    place
        .train("finetune import o.safetensors --key ema --to p.safetensors")
        .refused(&["leave out --key"]);
}
