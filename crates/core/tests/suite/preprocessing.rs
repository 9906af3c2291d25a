//! Preprocessing is computed in three places: on a device, in the fused step's gather, and by the
//! host's encoder. Each has to come to the same bits.

use burn::tensor::{Device, Tensor, TensorData};
use fireclay::{InputSpec, Preprocessing, Value, prepare, scaling};
use fireclay_kernels::{ChosenRows, RawFeatures};
use proptest::prelude::*;

const WIDTH: usize = 5;

fn on_a_device(preprocessing: &Preprocessing, row: &[f32]) -> Vec<u32> {
    let row = TensorData::new(row.to_vec(), [1, WIDTH]);
    let prepared = prepare(preprocessing, Tensor::from_data(row, &Device::flex()));
    bits(&prepared.try_into_vec_as::<f32>().unwrap())
}

fn in_the_fused_step(preprocessing: &Preprocessing, features: RawFeatures<'_>) -> Vec<u32> {
    let scaling = scaling(preprocessing);
    bits(&ChosenRows { features, width: WIDTH, indices: &[0], scaling }.gather())
}

fn by_the_encoder(preprocessing: &Preprocessing, row: &[f32]) -> Vec<u32> {
    let input = InputSpec::dense(&[WIDTH], preprocessing.clone());
    let encoder = input.encoder(&[InputSpec::FEATURES]).unwrap();
    bits(&encoder.encode(0, &[Value::Dense(row)]).unwrap().dense)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.0f32), -1e3f32..1e3, -1e-3f32..1e-3, -1e20f32..1e20]
}

fn deviation() -> impl Strategy<Value = f32> {
    prop_oneof![1e-3f32..1e3, 1e-20f32..1e20]
}

fn preprocessing() -> impl Strategy<Value = Preprocessing> {
    let each = (number(), prop_oneof![Just(0.0f32), deviation()]);
    prop_oneof![
        Just(Preprocessing::None),
        number().prop_map(|scale| Preprocessing::Scale { scale }),
        (number(), number(), deviation()).prop_map(|(scale, mean, deviation)| {
            Preprocessing::Normalize { scale, mean, deviation }
        }),
        prop::collection::vec(each, WIDTH).prop_map(|columns| {
            let (mean, deviation) = columns.into_iter().unzip();
            Preprocessing::Standardize { mean, deviation }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_place_comes_to_the_same_bits(
        preprocessing in preprocessing(),
        floats in prop::collection::vec(number(), WIDTH),
        bytes in prop::collection::vec(any::<u8>(), WIDTH),
    ) {
        let raised: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte)).collect();
        let stored = [(RawFeatures::Floats(&floats), &floats), (RawFeatures::Bytes(&bytes), &raised)];
        for (features, row) in stored {
            let expected = on_a_device(&preprocessing, row);
            prop_assert_eq!(&in_the_fused_step(&preprocessing, features), &expected);
            prop_assert_eq!(&by_the_encoder(&preprocessing, row), &expected);
        }
    }
}
