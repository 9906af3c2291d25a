//! Models that take named columns: predicted from tables, shown, and refused where rows have no names.

use std::fs;

use fireclay::{
    Backend, Category, DeviceChoice, Field, InputSpec, Mlp, MlpConfig, Model, Number,
    NumberScaling, Provenance, Task, Value as Cell,
};

use crate::program::Place;
use crate::support::{does, lines};

/// A network on a size and a colour.
fn model(task: Task) -> Model {
    let scaling = NumberScaling::Standardize { mean: 2.0, deviation: 4.0 };
    let size = Number { scaling, missing: true };
    let colour = Category::fit([Some("blue"), Some("red")]);
    let fields = vec![Field::new("size", size), Field::new("colour", colour)];
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    Model {
        mlp: Mlp::init(&MlpConfig::new([4], [3], task.outputs()), 1, &device).unwrap(),
        task,
        input: InputSpec::new(fields).unwrap(),
        provenance: Provenance::default(),
    }
}

pub(crate) fn place() -> (Place, Model) {
    let task = Task::regression(vec!["price".to_owned()]);
    let (place, model) = (Place::new(), model(task));
    model.save(place.path("model.safetensors")).unwrap();
    (place, model)
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let (place, model) = place();
    let rows = [[Cell::Number(1.5), Cell::Text("red")], [Cell::Missing, Cell::Text("green")]];
    let expected = model.predictor().unwrap().predict_values(&["size", "colour"], &rows).unwrap();
    fs::write(place.path("rows.csv"), "size,colour\n1.5,red\nNA,green\n").unwrap();
    fs::write(place.path("other.tsv"), "colour\tid\tsize\nred\t7\t1.5\ngreen\t8\t\n").unwrap();
    for name in ["rows.csv", "other.tsv"] {
        let line = format!("predict model.safetensors {name} --json");
        let unknown = "column colour: the model does not know \"green\"";
        let found = lines(&place.train(&line).warned(&[unknown]).stdout);
        assert_eq!(found.len(), 2);
        for (found, expected) in found.iter().zip(&expected) {
            let fireclay::Prediction::Values { values, .. } = expected else {
                panic!("{expected:?}")
            };
            assert_eq!(found["values"]["price"].as_f64().unwrap() as f32, values[0], "{name}");
        }
        assert_eq!(found[0].get("done").is_some(), name == "other.tsv");
    }
}

#[test]
fn what_does_not_fit_the_columns_is_said() {
    let (place, _) = place();
    for (table, said) in [
        ("colour\nred\n", r#"columns are missing: "size""#),
        ("size,colour\nbig,red\n", r#"row 0, column "size": it is a text, "big""#),
        ("size,colour\n1,\n", r#"column "colour": it is missing"#),
        ("", "the table is empty"),
    ] {
        fs::write(place.path("rows.csv"), table).unwrap();
        place.train("predict model.safetensors rows.csv").refused(&[said]);
    }
}

#[test]
fn rows_without_names_are_refused() {
    let place = Place::new();
    model(Task::numbered_classes(10)).save(place.path("model.safetensors")).unwrap();
    for line in [
        "evaluate model.safetensors --data mnist",
        "finetune --from model.safetensors --data mnist",
    ] {
        place.train(line).refused(&["size, colour"]);
    }
}

#[test]
fn inspect_shows_the_columns() {
    let (place, _) = place();
    let shown = does(&place, "inspect model.safetensors");
    assert!(shown.contains("size (number), colour (2 categories)"), "{shown}");
}
