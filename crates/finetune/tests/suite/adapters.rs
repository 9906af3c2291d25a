//! Low-rank adapters, with the program as its users have it.

use clap::Parser;
use fireclay::Model;

use crate::program::DIGITS;
use crate::tuned::{moved, place, read, tensors, tuned};

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

/// Outputs alone are compared, so that rows of other classes are as good as any.
#[test]
fn an_adapter_on_some_classes_is_merged_on_rows_of_all() {
    let place = place();
    let line = "--from base.safetensors --name some --epochs 1 --lora rank=2 --classes 0,1,2";
    place.train(&format!("{DIGITS} {line}")).warned(&["no training row has class 2"]);
    let line = "merge --base base.safetensors --adapter runs/some/adapter.safetensors";
    let said = place.train(&format!("{line} --data idx:digits --to some.safetensors")).succeeded();
    assert!(said.stdout.contains("on 20 test samples of idx:digits"), "{}", said.stdout);
}

#[test]
fn an_adapter_fits_the_file_that_it_was_trained_on() {
    let place = place();
    let line = format!(
        "--data idx:{} --validation 10 --from base.safetensors --name lora --epochs 2 \
         --strategy full --dropout 0.3 --lora rank=2",
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
    // `train`, which knows no adapters, writes it too when it resumes such a run.
    std::fs::remove_file(run.path.join("adapter.safetensors")).unwrap();
    let path = run.path.display().to_string();
    let args = ["train", "-q", "--resume", &path, "--epochs", "3"];
    train::run(train::Args::parse_from(args)).unwrap();
    assert!(run.path.join("adapter.safetensors").exists());
}

#[test]
fn an_adapter_fits_the_output_layers_of_an_ensemble() {
    let place = crate::tuned::place_with("--members 3 --hidden 12");
    let line = "--epochs 2 --lora rank=2 --lora-on layers.1";
    let (run, _) = tuned(&place, "lora", line);
    // The output layer is trained beside its adapter, as always.
    let moving = ["adapters.1.a", "adapters.1.b", "layers.1.bias", "layers.1.weight"];
    assert_eq!(moved(&run), moving);
    let (base, model) = (read(&place.path("base.safetensors")), run.model("model.safetensors"));
    let adapter = fireclay::Adapter::load(&run.path.join("adapter.safetensors")).unwrap();
    assert_eq!(tensors(&base.with_adapter(&adapter).unwrap()), tensors(&model));
    // One adapter reads what all members read, and has outputs for each of them.
    let shapes = model.mlp.tensors().unwrap();
    let shape = |name: &str| {
        shapes.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.shape.clone())
    };
    assert_eq!(shape("adapters.1.b"), Some(vec![3 * 10, 2]));
    let merge = "merge --adapter runs/lora/adapter.safetensors --base base.safetensors \
                 --to merged.safetensors --data idx:digits";
    let outcome = place.train(merge).succeeded();
    assert!(outcome.stdout.contains("the same answer for 20 (100.00 %)"), "{}", outcome.stdout);
    let merged = read(&place.path("merged.safetensors"));
    assert_eq!(merged.predictor().unwrap().members(), 3);
}
