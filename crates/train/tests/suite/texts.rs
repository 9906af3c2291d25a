//! Texts: what a step of sparse rows does, and what it does not.

use burn::module::Module;
use fireclay::{Activation, Backend, DeviceChoice, Mlp};
use train::fit::{Fitted, fit};
use train::optimizer::{AdamW, OptimizerConfig, Sgd};
use train::progress::Silent;
use train::state::State;

use crate::setup::{Setup, Take};

fn trained(setup: &Setup) -> Fitted {
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let job = setup.job(&device);
    let state = State::new(&job, Mlp::init(&setup.model, setup.seed, &device).unwrap());
    fit(&job, state, &mut Silent, &mut Take::at(u64::MAX)).unwrap()
}

/// The numbers of all parameters, by path.
fn numbers(mlp: &Mlp) -> Vec<(String, Vec<f32>)> {
    let tensors = mlp.valid().tensors().unwrap();
    tensors.into_iter().map(|tensor| (tensor.name, tensor.values)).collect()
}

/// A fused step and a general one come to the same, with texts alone and beside columns.
#[test]
fn fused_steps_of_texts_are_the_general_ones() {
    let sgd = Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, ..Sgd::default() };
    let adam = AdamW { learning_rate: 0.01, epsilon: 1e-3, ..AdamW::default() };
    for optimizer in [OptimizerConfig::Sgd(sgd), OptimizerConfig::AdamW(adam)] {
        for (is_alone, hidden) in [(true, vec![]), (false, vec![8])] {
            let mut setup = Setup::classes().with_texts(is_alone, Activation::Relu);
            setup.optimizer = optimizer.clone();
            setup.model.hidden = hidden;
            setup.training.batch_size = 7;
            let fused = trained(&setup);
            assert_eq!(fused.profile.separate, None);
            // Clips nothing, but needs the gradients.
            setup.training.clip_norm = Some(1e9);
            let general = trained(&setup);
            assert!(general.profile.separate.is_some());
            for ((path, found), (_, expected)) in
                numbers(&fused.mlp).iter().zip(numbers(&general.mlp))
            {
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-4, "{path}: {found} {expected}");
                }
            }
        }
    }
}

/// Rows of two batches together: the gradient of a step is that of the whole.
#[test]
fn accumulated_gradients_of_texts_are_those_of_one_batch() {
    let mut setup = Setup::classes().with_texts(false, Activation::Tanh);
    setup.training.batch_size = 10;
    let whole = trained(&setup);
    (setup.training.batch_size, setup.training.accumulate) = (5, 2);
    let parts = trained(&setup);
    for ((path, found), (_, expected)) in numbers(&parts.mlp).iter().zip(numbers(&whole.mlp)) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{path}: {found} {expected}");
        }
    }
}

/// The vector of a term that no training row has is what it was, by every optimizer and with weight
/// decay.
#[test]
fn vectors_of_texts_without_their_term_stay_as_they_were() {
    for name in OptimizerConfig::NAMES {
        let mut setup = Setup::classes().with_texts(true, Activation::Identity);
        let text = format!("name = \"{name}\"\nlearning_rate = 0.01");
        let decay = if name == "lion" || name == "muon" || name == "adamw" {
            ""
        } else {
            "\nweight_decay = 0.1"
        };
        setup.optimizer = toml::from_str(&format!("{text}{decay}")).unwrap();
        // Of the rows that are trained on, only a few.
        setup.split.train.truncate(6);
        let terms = &setup.data.terms()[0];
        let has: Vec<u32> =
            setup.split.train.iter().flat_map(|&row| terms.row(row).0.to_vec()).collect();
        let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
        let before = Mlp::init(&setup.model, setup.seed, &device).unwrap();
        let [before, after] = [&before, &trained(&setup).mlp].map(|mlp| {
            let all = numbers(mlp);
            all.into_iter().find(|(path, _)| path == "front.0.weight").unwrap().1
        });
        assert!(!has.is_empty() && has.len() < 30);
        for term in 0..40 {
            let vector = term * 5..term * 5 + 5;
            let is_moved = before[vector.clone()] != after[vector];
            assert_eq!(is_moved, has.contains(&(term as u32)), "{name}, term {term}");
        }
    }
}
