//! The recipes for tables, from training to prediction.

use std::fmt::Write;
use std::fs;

use crate::program::Place;
use crate::support::{does, json, lines};

/// Rows of a town of 40, a colour of 3 and a size, with a price that follows from all of them, and
/// whether it is high.
fn homes(rows: std::ops::Range<usize>) -> String {
    let mut text = "town,colour,size,price,high\n".to_owned();
    for i in rows {
        let (town, size) = ((i * 17) % 40, (i * 37) % 101);
        let price = 2 * size + 5 * ((town * 7) % 11) + 30 * (i % 3);
        let high = if price > 150 { "yes" } else { "no" };
        writeln!(text, "town-{town},{},{size}.5,{price},{high}", ["red", "green", "blue"][i % 3])
            .unwrap();
    }
    text
}

fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("homes.csv"), homes(0..480)).unwrap();
    place
}

#[test]
fn realmlp_embeds_the_columns_of_a_table_and_predicts_by_name() {
    let place = place();
    let line = "train --recipe realmlp-regression --data homes.csv --target price --drop high \
                --no-report --name p --epochs 24 --batch-size 32 --hidden 32,32";
    does(&place, line);
    let rows = "size,colour,town\n40.5,green,town-3\n10.5,red,town-9\n";
    fs::write(place.path("rows.csv"), rows).unwrap();
    let found = lines(&does(&place, "predict runs/p rows.csv --json"));
    assert!(found.iter().all(|row| row["values"]["price"].as_f64().is_some()), "{found:?}");
    let measured = json(&place, "evaluate runs/p --json");
    assert!(measured["evaluation"]["scores"]["r2"]["value"].as_f64().unwrap() > 0.8, "{measured}");
    let said = does(&place, "inspect runs/p/model.safetensors");
    for part in ["version 3", "parametric mish, scaling, NTK", "front.0.weight", "scaling.weight"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    does(&place, "train --repeat p --name again --no-report");
}

#[test]
fn an_ensemble_of_a_recipe_classifies_and_resumes_to_the_same_bits() {
    let place = place();
    let line = "train --recipe tabm --data homes.csv --target high --drop price --no-report \
                --members 4 --hidden 16 --batch-size 64 --lr 0.01";
    does(&place, &format!("{line} --name whole --epochs 12"));
    let measured = json(&place, "evaluate runs/whole --json");
    let accuracy = &measured["evaluation"]["scores"]["accuracy"]["value"];
    assert!(accuracy.as_f64().unwrap() > 0.8, "{measured}");
    does(&place, &format!("{line} --name half --epochs 5"));
    does(&place, "train --resume half --epochs 12 --no-report");
    let model = |run: &str| fs::read(place.path(&format!("runs/{run}/model.safetensors"))).unwrap();
    assert!(model("whole") == model("half"));
    let said = does(&place, "inspect runs/whole/model.safetensors");
    assert!(said.contains("4 members") && said.contains("members.weight"), "{said}");
}

#[test]
fn recipes_for_tables_say_so_of_other_data() {
    let place = Place::new();
    for recipe in ["realmlp", "tabm"] {
        let line = format!("train --recipe {recipe} --data idx:digits --no-report");
        place.train(&line).refused(&["table"]);
    }
}
