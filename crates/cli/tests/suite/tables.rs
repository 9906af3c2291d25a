//! Tables from training to prediction: columns by name, rows in splits, runs that resume.

use std::fmt::Write;
use std::fs;

use crate::program::Place;
use crate::support::{does, json, lines};

/// Columns of each kind, and a price that follows from some of them.
fn prices(rows: std::ops::Range<usize>) -> String {
    let mut text = "id,size,colour,new,age,batch,price\n".to_owned();
    for i in rows {
        let (size, age) = ((i * 37) % 101, (i * 53) % 17);
        let colour = ["red", "green", "blue"][(i * 7) % 3];
        let is_new = (i * 11) % 2 == 0;
        let price = 3 * size + 50 * ((i * 7) % 3) + if is_new { 40 } else { 0 };
        let age = if i % 9 == 4 { String::new() } else { age.to_string() };
        let answer = if is_new { "yes" } else { "no" };
        writeln!(text, "r-{i},{size}.5,{colour},{answer},{age},{},{price}.25", i % 7).unwrap();
    }
    text
}

fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("prices.csv"), prices(0..300)).unwrap();
    place
}

const TRAIN: &str = "train --data prices.csv --target price --no-report --lr 0.01";

#[test]
fn a_table_trains_and_predicts_by_name() {
    let place = place();
    let said = does(&place, &format!("{TRAIN} --name p --epochs 60"));
    for line in [
        "target price: regression",
        "3 numbers: size, age, batch",
        "1 boolean: new",
        "1 category: colour",
        "left out: id (identifier)",
        "fireclay predict runs/p rows.csv",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // Other columns, in another order, with another separator, compressed or not.
    let rows = "new;extra;batch;age;colour;size\nyes;?;1;3;green;40.5\nno;?;2;;blue;10.5\n";
    fs::write(place.path("rows.csv"), rows).unwrap();
    let found = lines(&does(&place, "predict runs/p rows.csv --json"));
    let values: Vec<f64> =
        found.iter().map(|row| row["values"]["price"].as_f64().unwrap()).collect();
    for (value, truth) in values.iter().zip([3.0 * 40.0 + 50.0 + 40.0, 3.0 * 10.0 + 100.0]) {
        assert!((value - truth).abs() < 25.0, "{value} for {truth}");
    }
    does(&place, "report runs/p --to page.html");
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("Predicted against true price") && page.matches("<circle").count() > 40);
    let measured = json(&place, "evaluate runs/p --json");
    assert!(measured["evaluation"]["scores"]["r2"]["value"].as_f64().unwrap() > 0.95, "{measured}");
    // The worst rows are shown as the file has them, in the columns of the model.
    let worst = measured["worst_rows"].as_array().unwrap();
    let row = measured["evaluation"]["worst"][0]["truth"].as_str().unwrap();
    assert_eq!((worst.len(), worst[0].as_object().unwrap().len()), (10, 5), "{worst:?}");
    let cells = ["size", "colour", "new", "age", "batch"].map(|name| worst[0][name].as_str());
    let cells: Vec<&str> = cells.into_iter().map(Option::unwrap).collect();
    let is_it = |line: &str| {
        let found: Vec<&str> = line.split(',').collect();
        found[1..6] == cells[..] && found[6] == row
    };
    assert!(prices(0..300).lines().any(is_it), "{cells:?} {row}");
    let shown = does(&place, "evaluate runs/p");
    assert!(shown.contains("worst row  size"), "{shown}");
    assert!(page.contains("<th>colour</th>") && page.contains(">green<"), "rows of the report");
    // The price follows from size, colour and newness alone.
    let needed = json(&place, "evaluate runs/p --importance --json");
    let needed = needed["importance"].as_array().unwrap();
    let names: Vec<&str> = needed.iter().map(|one| one["column"].as_str().unwrap()).collect();
    assert_eq!(names[0], "size");
    assert!(names[3..].contains(&"age") && names[3..].contains(&"batch"), "{names:?}");
    assert!(needed[0]["growth"].as_f64() > needed[3]["growth"].as_f64().map(|least| 10.0 * least));
    place.train("train --name m --epochs 1 -q --no-report --hidden none").succeeded();
    place.train("evaluate runs/m --importance").refused(&["needs a table"]);
    assert_eq!(measured["evaluation"]["rows"], 60, "a fifth of 300");
}

#[test]
fn other_rows_are_measured_by_the_names_of_their_columns() {
    let place = place();
    does(&place, &format!("{TRAIN} --name p --epochs 5"));
    fs::write(place.path("more.csv"), prices(300..340)).unwrap();
    let measured = json(&place, "evaluate runs/p --data more.csv --json");
    assert_eq!(measured["evaluation"]["rows"], 40);
    // A few whole numbers may be classes, but not to a model that predicts amounts.
    fs::write(place.path("few.csv"), prices(300..304).replace(".25\n", "\n")).unwrap();
    assert_eq!(json(&place, "evaluate runs/p --data few.csv --json")["evaluation"]["rows"], 4);
    // The model alone, apart from its run.
    fs::copy(place.path("runs/p/model.safetensors"), place.path("m.safetensors")).unwrap();
    let of_run = json(&place, "evaluate runs/p --json");
    let of_file = json(&place, "evaluate m.safetensors --json");
    assert_eq!(of_run["evaluation"], of_file["evaluation"]);
    place.train("evaluate runs/p --data more.csv --target cost").refused(&["no column cost"]);
    let lacks = prices(0..30).replace("colour", "color");
    fs::write(place.path("lacks.csv"), lacks).unwrap();
    place.train("evaluate runs/p --data lacks.csv").refused(&["colour", "color"]);
}

#[test]
fn a_run_on_a_table_resumes_to_the_same_bits() {
    let place = place();
    does(&place, &format!("{TRAIN} --name whole --epochs 6 --group batch"));
    does(&place, &format!("{TRAIN} --name half --epochs 3 --group batch"));
    fs::rename(place.path("prices.csv"), place.path("moved.csv")).unwrap();
    let gone = place.train("train --resume half --epochs 6 --no-report");
    gone.refused(&["cannot find the data", "--data PATH"]);
    does(&place, "train --resume half --epochs 6 --data moved.csv --no-report");
    let model = |run: &str| fs::read(place.path(&format!("runs/{run}/model.safetensors"))).unwrap();
    assert!(model("whole") == model("half"));
    does(&place, "train --repeat whole --data moved.csv --no-report --name again");
}

#[test]
fn a_model_of_a_table_is_fine_tuned_on_another() {
    let place = place();
    does(&place, &format!("{TRAIN} --name p --epochs 20"));
    let dearer = prices(300..500);
    fs::write(place.path("new.csv"), dearer).unwrap();
    let line = "finetune --from runs/p/model.safetensors --data new.csv --target price --epochs 2 \
                --name tuned --no-report";
    does(&place, line);
    let measured = json(&place, "evaluate runs/tuned --json");
    assert_eq!(measured["evaluation"]["rows"], 40);
    let first = fs::read(place.path("runs/tuned/model.safetensors")).unwrap();
    does(&place, "finetune --repeat tuned --name again --no-report");
    assert!(first == fs::read(place.path("runs/again/model.safetensors")).unwrap());
}

#[test]
fn a_table_is_checked_without_a_trace() {
    let place = place();
    let before = place.tree();
    let said = does(&place, "train --data prices.csv --target price --check");
    for line in ["300 rows, 7 columns", "id      identifier  left out", "`id` is different in each"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.lines().any(|line| line.contains("age") && line.contains("11.0 %")), "{said}");
    assert!(place.tree() == before);
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let place = place();
    fs::write(place.path("grades.csv"), "a,grade\n1,3\n2,4\n3,5\n4,3\n").unwrap();
    for (line, words) in [
        ("train --data prices.csv", &["--target", "price"][..]),
        ("train --data prices.csv --target prize", &["no column prize", "price"]),
        ("train --data prices.csv --target price --drop sizee", &["sizee", "size"]),
        ("train --data prices.csv --target price --numeric colour", &["row 1", "red"]),
        (
            "train --data prices.csv --target price --drop size --numeric size",
            &["--numeric", "--drop"],
        ),
        ("train --data grades.csv --target grade", &["--task classification"]),
        ("train --data prices.csv --target price --preprocessing scale", &["--preprocessing"]),
        ("train --data mnist --target price", &["--target", "mnist"]),
        ("train --data mnist --memory 500MB", &["--memory has no effect on mnist"]),
        ("train --data none.csv --target price", &["none.csv"]),
        ("train --data prices.csv --target price --test none.csv", &["--test none.csv"]),
        ("train --data prices.csv --target price --time age", &["age", "there is no time"]),
    ] {
        place.train(line).refused(words);
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn splits_follow_groups_and_time() {
    let place = place();
    let dry = |more: &str| {
        does(
            &place,
            &format!(
                "{TRAIN} --epochs 1 --name {} {more}",
                more.trim_start_matches('-').replace([' ', '-'], "_")
            ),
        )
    };
    let said = dry("--group batch");
    let numbers = said.split(' ').filter_map(|word| word.parse().ok());
    let [training, validation, test] = numbers.take(3).collect::<Vec<usize>>()[..] else {
        panic!("{said}")
    };
    // Seven groups of 43 or 42 rows: two of them for the test, one for validation.
    assert!([85, 86].contains(&test) && [42, 43].contains(&validation), "{said}");
    assert_eq!(training + validation + test, 300);
    let said = dry("--time size --test 50 --validation 20");
    assert!(said.contains("230 training, 20 validation and 50 test"), "{said}");
    fs::write(place.path("test.csv"), prices(300..350)).unwrap();
    let said = dry("--test test.csv");
    assert!(said.contains("270 training, 30 validation and 50 test"), "{said}");
}

#[test]
fn folds_test_every_row_once_and_resume() {
    let place = place();
    let line = format!("{TRAIN} --epochs 3 --folds 3 --name cv");
    let said = does(&place, &line);
    for fold in 1..=3 {
        assert!(said.contains(&format!("fold {fold} of 3")), "{said}");
    }
    assert!(said.contains("180 training, 20 validation and 100 test"), "{said}");
    let results = fs::read(place.path("runs/cv/folds.json")).unwrap();
    let found: serde_json::Value = serde_json::from_slice(&results).unwrap();
    let rmse = &found["rmse"];
    let folds: Vec<f64> =
        rmse["folds"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(folds.len(), 3);
    assert!((rmse["mean"].as_f64().unwrap() - folds.iter().sum::<f64>() / 3.0).abs() < 1e-9);
    place.train(&line).refused(&["runs/cv exists", "--resume cv"]);
    // What was not finished, or not begun, is done again with the same bits.
    fs::remove_dir_all(place.path("runs/cv/fold-3")).unwrap();
    fs::remove_file(place.path("runs/cv/folds.json")).unwrap();
    does(&place, "train --resume cv --no-report");
    assert!(results == fs::read(place.path("runs/cv/folds.json")).unwrap());
    let grouped =
        does(&place, &format!("{TRAIN} --epochs 1 --folds 2 --group batch --name grouped"));
    assert!(grouped.contains("deviation"), "{grouped}");
    place.train(&format!("{TRAIN} --folds 8 --group batch")).refused(&["fewer folds"]);
    place.train(&format!("{TRAIN} --folds 1")).refused(&["at least 2"]);
    place.train("train --folds 3").refused(&["needs a table"]);
}

#[test]
fn the_models_of_folds_are_kept_as_one() {
    let place = place();
    let line = format!("{TRAIN} --epochs 3 --folds 3 --ensemble --name cv");
    let said = does(&place, &line);
    assert!(said.contains("Ensemble of 3 models: runs/cv/model.safetensors, sha256:"), "{said}");
    let bytes = fs::read(place.path("runs/cv/model.safetensors")).unwrap();
    // Its predictions are the means of those of its models, and the spread is their deviation.
    fs::write(place.path("rows.csv"), "new,batch,age,colour,size\nyes,1,3,green,40.5\n").unwrap();
    let value = |model: &str| {
        let found = lines(&does(&place, &format!("predict {model} rows.csv --json")));
        found[0]["values"]["price"].as_f64().unwrap()
    };
    let each = [1, 2, 3].map(|fold| value(&format!("runs/cv/fold-{fold}")));
    let (mean, whole) = (each.iter().sum::<f64>() / 3.0, value("runs/cv"));
    assert!((mean - whole).abs() < 1e-3, "{mean} {whole}");
    let deviation = (each.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    let table = does(&place, "predict runs/cv rows.csv --format csv");
    assert!(table.starts_with("row,price,spread of price\n"), "{table}");
    let spread: f64 = table.trim_end().rsplit(',').next().unwrap().parse().unwrap();
    assert!((spread - deviation).abs() < 1e-3 && deviation > 0.1, "{spread} {deviation}");
    // Other commands read it like any other model.
    fs::write(place.path("more.csv"), prices(300..340)).unwrap();
    let measured = json(&place, "evaluate runs/cv --data more.csv --importance --json");
    assert_eq!(measured["evaluation"]["rows"], 40);
    assert_eq!(measured["importance"].as_array().unwrap().len(), 5, "one for each column");
    let compared = does(&place, "compare runs/cv runs/cv/fold-1 --data more.csv");
    assert!(compared.contains("rmse"), "{compared}");
    let inspected = does(&place, "inspect runs/cv");
    assert!(inspected.contains("ensemble of 3 models, each 8"), "{inspected}");
    assert!(inspected.contains("No anomalies"), "{inspected}");
    does(&place, "report runs/cv --data more.csv --to page.html");
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("An ensemble of 3 models"), "{page}");
    // No row is new to it, and no single network can be trained further.
    place.train("evaluate runs/cv").refused(&["name a data set with --data"]);
    place
        .train("finetune --from runs/cv/model.safetensors --data prices.csv --target price")
        .refused(&["ensemble of 3 models"]);
    let alone = format!("{TRAIN} --folds 3 --ensemble --interval 0.9");
    place.train(&alone).refused(&["--interval are chosen for a single model"]);
    // Killed within the second fold and resumed, it ends in the same bits.
    let line = line.replace("--name cv", "--name killed --checkpoint-every 1steps");
    let mut command = place.command(&line);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let checkpoints = place.path("runs/killed/fold-2/checkpoints");
    while fs::read_dir(&checkpoints).map_or(0, Iterator::count) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended too soon");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("runs/killed/model.safetensors").exists());
    does(&place, "train --resume killed --no-report");
    assert!(bytes == fs::read(place.path("runs/killed/model.safetensors")).unwrap());
}
