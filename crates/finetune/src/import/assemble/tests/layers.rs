//! Layers as the file has them.

use fireclay_formats as formats;
use fireclay_formats::{Layer, Layout};

use super::super::super::{Fate, Imported};
use super::made::{BATCH, LAYER, Made, Random, described, folds};

#[test]
fn norms_of_each_layer_stay_where_they_are() {
    for (kind, name) in [(BATCH, "batch"), (LAYER, "layer"), (formats::Norm::Rms, "rms")] {
        // Beside some layers alone, on either side of the activation, and on the input.
        let mut made = Made::new(1, 4);
        made.norm(kind).dense(5).function("relu").dense(3).norm(kind).function("tanh");
        made.dense(6).function("sigmoid").norm(kind).dense(4).function("relu").dense(2);
        let imported = made.check();
        let expected = [
            format!("5, relu, {name} input"),
            format!("3, tanh, {name} before-activation"),
            format!("6, sigmoid, {name} after-activation"),
            "4, relu".to_owned(),
        ];
        assert_eq!(described(&imported), expected);
        assert!(imported.notes.is_empty(), "{:?}", imported.notes);
        let layer = &imported.model.mlp.architecture().hidden[1];
        assert_eq!(layer.norm_epsilon, 1e-3);
    }
    // One of each kind, and two about one activation: the second stands on what the next layer reads.
    let mut both = Made::new(2, 4);
    both.dense(5).norm(BATCH).function("relu").norm(LAYER).dense(3).function("tanh").dense(2);
    let expected = ["5, relu, batch before-activation", "3, tanh, layer input"];
    assert_eq!(described(&both.check()), expected);
    // Behind dropout, which stands behind a norm here.
    let mut dropped = Made::new(3, 4);
    dropped.dense(5).function("relu");
    dropped.layers.push(Layer::Dropout(0.25));
    dropped.norm(BATCH).dense(3).function("relu").dense(2);
    let imported = dropped.check();
    assert_eq!(described(&imported), ["5, relu", "3, relu, batch input"]);
    assert_eq!(imported.model.mlp.architecture().hidden[0].dropout, 0.25);
}

#[test]
fn batch_norms_without_room_are_folded() {
    let mut end = Made::new(4, 4);
    end.dense(5).function("relu").dense(2).norm(BATCH);
    folds(&end.check());
    // A norm of what the next layer reads goes into its weights if that has one of its own.
    let mut three = Made::new(5, 4);
    three.dense(5).norm(BATCH).function("relu").norm(BATCH).dense(3).norm(BATCH).function("tanh");
    three.dense(2);
    let imported = three.check();
    folds(&imported);
    let expected = ["5, relu, batch before-activation", "3, tanh, batch before-activation"];
    assert_eq!(described(&imported), expected);
    // A norm behind a norm, and factors before and behind it.
    let mut stacked = Made::new(6, 4);
    stacked.dense(5).rescale(2.0, 1.0).norm(BATCH).rescale(0.5, -1.0).norm(BATCH).affine();
    stacked.function("tanh").affine().dense(2).rescale(3.0, 0.25);
    let imported = stacked.check();
    folds(&imported);
    assert_eq!(described(&imported), ["5, tanh, batch before-activation"]);
    let mut mixed = Made::new(1, 4);
    mixed.dense(5).norm(LAYER).rescale(2.0, 0.5).norm(BATCH).function("tanh").dense(2);
    assert_eq!(described(&mixed.check()), ["5, tanh, layer before-activation"]);
}

#[test]
fn layer_norms_without_room_stand_beside_a_layer_that_changes_nothing() {
    let added = |made: &Made, expected: &[&str]| {
        let imported = made.check();
        assert_eq!(described(&imported), expected);
        let is_told = |note: &String| note.contains("a linear layer that changes nothing");
        assert!(imported.notes.iter().any(is_told), "{:?}", imported.notes);
    };
    let mut last = Made::new(4, 4);
    last.dense(5).norm(LAYER).function("relu").dense(2).norm(LAYER);
    added(&last, &["5, relu, layer before-activation", "2, identity, layer before-activation"]);
    let mut two = Made::new(5, 4);
    two.dense(5).norm(LAYER).norm(LAYER).function("relu").dense(2);
    added(&two, &["5, identity, layer before-activation", "5, relu, layer input"]);
    let mut scaled = Made::new(6, 4);
    scaled.dense(5).function("relu").rescale(2.0, 1.0).norm(LAYER).dense(2);
    added(&scaled, &["5, relu", "5, identity, layer before-activation"]);
    // An RMS norm has no shift that another could go into.
    let mut shifted = Made::new(8, 4);
    shifted.norm(formats::Norm::Rms).rescale(2.0, 0.0).rescale(1.0, 0.5).function("tanh").dense(2);
    added(&shifted, &["4, tanh, rms input"]);
    // Behind the last skip connection, as in most networks of such blocks.
    let mut blocks = Made::new(7, 4);
    blocks.residual(|made| {
        made.norm(LAYER).dense(6).function("relu").dense(4);
    });
    blocks.norm(LAYER).dense(2);
    let last = "4, identity, layer before-activation, skip 2 before-norm";
    assert_eq!(described(&blocks.check()), ["6, relu, layer input", last]);
}

#[test]
fn linear_layers_and_their_biases_stay_as_they_are() {
    let mut made = Made::new(1, 4);
    made.dense(6)
        .dense(3)
        .norm(BATCH)
        .dense(5)
        .function("tanh")
        .dense(4)
        .rescale(2.0, 1.0)
        .dense(2);
    let expected =
        ["6, identity", "3, identity, batch before-activation", "5, tanh", "4, identity"];
    assert_eq!(described(&made.check()), expected);
    // Each as in the file, but where something was folded in.
    for has_bias in [[true, false, true], [false, true, false]] {
        let mut made = Made::new(2, 3);
        for (outputs, has_bias) in [5, 4, 2].into_iter().zip(has_bias) {
            let inputs = std::mem::replace(&mut made.width, outputs);
            let weight = made.tensor(&[outputs, inputs], Random::number);
            let bias = has_bias.then(|| made.vector());
            made.layers.push(Layer::Dense { weight, bias, layout: Layout::OutIn });
            if outputs > 2 {
                made.function("relu");
            }
        }
        let network = made.check().model.mlp.architecture().clone();
        assert_eq!([0, 1, 2].map(|layer| network.has_bias(layer)), has_bias);
    }
}

#[test]
fn slopes_of_any_kind_are_kept() {
    let slope = [("slope", 0.3)];
    let mut leaky = Made::new(1, 4);
    leaky.dense(5).norm(BATCH).function_with("leaky-relu", &slope);
    leaky.dense(3).norm(BATCH).function("leaky-relu").dense(2);
    let imported = leaky.check();
    let slopes = |imported: &Imported| -> Vec<f64> {
        imported.model.mlp.architecture().hidden.iter().map(|layer| layer.leaky_slope).collect()
    };
    assert_eq!(slopes(&imported), [0.3, 0.01]);
    let expected =
        ["5, leaky-relu, batch before-activation", "3, leaky-relu, batch before-activation"];
    assert_eq!(described(&imported), expected);
    // One slope for all, as PyTorch's PReLU begins.
    let mut shared = Made::new(2, 4);
    shared.dense(5);
    let one = shared.tensor(&[1], |_| 0.25);
    shared.layers.push(Layer::Prelu { slope: one });
    shared.dense(2);
    let imported = shared.check();
    assert_eq!(
        (slopes(&imported), described(&imported)),
        (vec![0.25], vec!["5, leaky-relu".to_owned()])
    );
    // Slopes of each unit, with a norm and a factor about them.
    let mut each = Made::new(3, 4);
    each.dense(5).norm(BATCH).prelu().rescale(2.0, 1.0).dense(3).function("relu").dense(4);
    each.function_with("leaky-relu", &slope).dense(2);
    let imported = each.check();
    folds(&imported);
    assert_eq!(described(&imported), ["10, relu", "3, relu", "4, leaky-relu"]);
    assert!(imported.notes.iter().any(|note| note.contains("10, 3, 4")), "{:?}", imported.notes);
    assert!(imported.placed.iter().all(|t| !matches!(&t.fate, Fate::Skipped(_))));
    // Between norms that stay, beside a skip connection, and at the end.
    let mut beside = Made::new(5, 4);
    beside.norm(BATCH).dense(5).norm(LAYER).prelu().norm(LAYER).dense(3).prelu();
    beside.residual(|made| {
        made.prelu().dense(3).prelu();
    });
    beside.prelu();
    let imported = beside.check();
    assert!(imported.placed.iter().all(|t| !matches!(&t.fate, Fate::Skipped(_))));
}

#[test]
fn constants_of_functions_go_into_the_layers_about_them() {
    let mut softplus = Made::new(1, 4);
    softplus.dense(5).function_with("softplus", &[("beta", 2.0)]).dense(3);
    softplus.function_with("softplus", &[("beta", 0.5)]).dense(2);
    assert_eq!(described(&softplus.check()), ["5, softplus", "3, softplus"]);
    let mut bounded = Made::new(2, 4);
    bounded.dense(5).function_with("relu", &[("max", 1.5)]).dense(2);
    assert_eq!(described(&bounded.check()), ["5, relu6"]);
    // What has no counterpart is refused with the name of the layer.
    let mut elu = Made::new(3, 4);
    elu.dense(5).function("relu").dense(3).function_with("elu", &[("alpha", 0.5)]).dense(2);
    let Some(Layer::Dense { weight, .. }) = elu.layers.get(2) else { panic!("{:?}", elu.layers) };
    elu.refused(&format!("elu with alpha = 0.5, behind {weight}"));
}

#[test]
fn functions_of_each_layer_stay_and_may_stand_at_either_end() {
    let mut hidden = Made::new(6, 4);
    hidden.dense(5).function("relu").dense(3).function("tanh").dense(2);
    assert_eq!(described(&hidden.check()), ["5, relu", "3, tanh"]);
    let mut tanh = Made::new(1, 4);
    tanh.dense(5).function("relu").dense(2).function("tanh").rescale(3.0, 1.0);
    assert_eq!(described(&tanh.check()), ["5, relu", "2, tanh"]);
    let mut sigmoid = Made::new(3, 4);
    sigmoid.dense(5).function("sigmoid").dense(2).function("sigmoid");
    assert_eq!(described(&sigmoid.check()), ["5, sigmoid", "2, sigmoid"]);
    let mut first = Made::new(4, 4);
    first.function("sigmoid").dense(2);
    assert_eq!(described(&first.check()), ["4, sigmoid"]);
    let mut two = Made::new(5, 4);
    two.dense(5).function("relu").function("tanh").dense(2);
    assert_eq!(described(&two.check()), ["5, relu", "5, tanh"]);
}

#[test]
fn skips_span_the_layers_that_they_span_in_the_file() {
    let mut one = Made::new(1, 4);
    one.dense(5).function("relu");
    one.residual(|made| {
        made.dense(5).function("tanh");
    });
    one.dense(3).function("relu").dense(2);
    let expected = ["5, relu", "5, tanh, skip 1 output", "3, relu"];
    assert_eq!(described(&one.check()), expected);
    // The usual block: the sum, and then the activation.
    let mut usual = Made::new(2, 4);
    usual.dense(5).norm(BATCH).function("relu");
    usual.residual(|made| {
        made.dense(3).norm(BATCH).function("tanh").dense(5).norm(BATCH);
    });
    usual.function("relu").dense(2);
    let imported = usual.check();
    let expected = [
        "5, relu, batch before-activation",
        "3, tanh, batch before-activation",
        "5, relu, batch before-activation, skip 2 before-activation",
    ];
    assert_eq!(described(&imported), expected);
    // The norm behind the sum.
    let mut behind = Made::new(3, 4);
    behind.residual(|made| {
        made.dense(3).function("tanh").dense(4);
    });
    behind.norm(LAYER).function("relu").dense(2);
    let last = "4, relu, layer before-activation, skip 2 before-norm";
    assert_eq!(described(&behind.check()), ["3, tanh", last]);
    // One inside of another, norms first, and from the input.
    let mut nested = Made::new(4, 4);
    nested.residual(|made| {
        made.norm(BATCH).dense(3).function("relu");
        made.residual(|made| {
            made.dense(5).function("tanh").dense(3);
        });
        made.function("sigmoid").dense(4);
    });
    nested.dense(2);
    let expected = [
        "3, relu, batch input",
        "5, tanh",
        "3, sigmoid, skip 2 before-activation",
        "4, identity, skip 4 output",
    ];
    assert_eq!(described(&nested.check()), expected);
}

#[test]
fn skips_without_room_get_a_layer_that_changes_nothing() {
    // From what stands behind an activation, around a factor, and twice to one sum.
    let mut made = Made::new(5, 4);
    made.dense(5).function("tanh").rescale(2.0, 1.0);
    made.residual(|made| {
        made.dense(5).function("tanh").rescale(-1.0, 0.0);
    });
    made.residual(|made| {
        made.affine();
    });
    made.residual(|made| {
        made.residual(|made| {
            made.dense(5).function("relu");
        });
    });
    made.function("tanh").dense(2);
    let imported = made.check();
    assert!(imported.notes.iter().any(|note| note.contains("a skip connection without room")));
    // From features that are multiplied by a number below 0.
    let mut first = Made::new(6, 4);
    first.affine();
    first.residual(|made| {
        made.dense(4).function("relu");
    });
    first.dense(2).check();
    let mut wide = Made::new(7, 4);
    wide.residual(|made| {
        made.dense(5);
    });
    wide.dense(2).refused("adds 4 numbers to 5");
    let mut softmax = Made::new(8, 4);
    softmax.residual(|made| {
        made.dense(4).function("softmax");
    });
    softmax.dense(2).refused("a softmax inside of a skip connection");
}

/// Random networks: all of them are read, and give the outputs of the file.
#[test]
fn random_networks_give_the_outputs_of_the_file() {
    for seed in 0..600 {
        let mut made = Made::new(seed, 3);
        for _ in 0..1 + made.random.below(12) {
            made.random_step(2);
        }
        made.dense(2);
        made.check();
    }
}
