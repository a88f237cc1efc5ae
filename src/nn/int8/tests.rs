//! Every instruction set against plain Rust, and plain Rust against the definition in i64.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// The same cases every time: a test that fails must fail again.
fn fixed(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}

/// Where the values of a case come from.
#[derive(Clone, Copy, Debug)]
enum Values {
    Random,
    /// All activations and all weights the same.
    Constant(u8, i8),
    /// Activations of 0 and 255, weights of -128 and 127, at random.
    Extremes,
    /// Random, with no weight of -128.
    AboveMin,
    /// Weights that are unsigned bytes less a zero point; most of them fit into a signed byte where it is 128.
    Wide(u8),
}

#[derive(Clone, Debug)]
struct Case {
    shape: ConvShape,
    x_zero: u8,
    values: Values,
    seed: u64,
}

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct Data {
    x: Vec<u8>,
    weights: Vec<i16>,
    bias: Vec<i32>,
    scale: Vec<f32>,
    offset: Vec<f32>,
}

impl Case {
    fn data(&self) -> Data {
        let (s, mut n) = (&self.shape, Numbers(self.seed));
        let x = (0..s.input.iter().product()).map(|_| n.next() as u8).collect();
        let weights = (0..s.outputs * s.window()).map(|_| i16::from(n.next() as i8)).collect();
        let mut data = Data {
            x,
            weights,
            bias: (0..s.outputs).map(|_| n.next() as i32 >> 12).collect(),
            // Results spread over about the range of a u8.
            scale: (0..s.outputs).map(|_| (n.next() % 1000) as f32 * 4e-7 - 1e-4).collect(),
            offset: (0..s.outputs).map(|_| (n.next() % 1000) as f32 - 500.0).collect(),
        };
        match self.values {
            Values::Random => {}
            Values::Constant(x, w) => {
                data.x.fill(x);
                data.weights.fill(w.into());
            }
            Values::Extremes => {
                data.x.iter_mut().for_each(|x| *x = if *x < 128 { 0 } else { 255 });
                data.weights.iter_mut().for_each(|w| *w = if *w < 0 { -128 } else { 127 });
            }
            Values::AboveMin => data.weights.iter_mut().for_each(|w| *w = (*w).max(-127)),
            Values::Wide(zero) => data.weights.iter_mut().for_each(|w| *w += 128 - i16::from(zero)),
        }
        data
    }

    fn conv(&self, data: &Data, isa: Isa) -> Conv {
        let parts = parts(&data.weights);
        let parts: Vec<&[i8]> = parts.iter().map(Vec::as_slice).collect();
        Conv::of_parts(self.shape.clone(), &parts, &data.bias, self.x_zero, isa).unwrap()
    }
}

/// The results of all epilogues; floats as bits. The quantised one writes between channels of others.
#[derive(Debug, PartialEq)]
struct Results {
    quantised: Vec<u8>,
    real: Vec<u32>,
    minima: Vec<u32>,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Where the zero point and the range of quantised results come from.
fn range(case: &Case) -> (u8, u8, u8) {
    let [zero, a, b, ..] = case.seed.to_le_bytes();
    (zero, a.min(b), a.max(b))
}

fn results(case: &Case, data: &Data, isa: Isa, scratches: &mut [Scratch]) -> Results {
    let conv = case.conv(data, isa);
    let [h, w, o] = conv.shape().output();
    let (pitch, offset) = (o + 3, 2);
    let mut quantised = vec![77; h * w * pitch];
    let (zero, low, high) = range(case);
    let out = Out::Quantised { y: &mut quantised, pitch, offset, scale: &data.scale, zero, low, high };
    conv.run(&data.x, out, scratches);
    let mut real = vec![0.0; h * w * o];
    conv.run(&data.x, Out::Real { y: &mut real, scale: &data.scale, bias: &data.offset }, scratches);
    let mut minima = vec![0.0; h * w];
    conv.run(&data.x, Out::Min { y: &mut minima, scale: &data.scale, bias: &data.offset }, scratches);
    Results { quantised, real: bits(&real), minima: bits(&minima) }
}

/// The definition, one multiplication after the other.
fn expected(case: &Case, data: &Data) -> Results {
    let s = &case.shape;
    let [h, w, o] = s.output();
    let [ih, iw, ic] = s.input;
    let [kh, kw] = s.kernel;
    let (inputs, outputs) = (ic / s.groups, o / s.groups);
    let mut results = Results { quantised: vec![77; h * w * (o + 3)], real: vec![], minima: vec![] };
    let (zero, low, high) = range(case);
    for pixel in 0..h * w {
        let mut min = f32::INFINITY;
        for o in 0..o {
            let mut acc = i64::from(data.bias[o]);
            for (ky, kx, c) in (0..kh * kw * inputs).map(|i| (i / inputs / kw, i / inputs % kw, i % inputs)) {
                let y = (pixel / w * s.stride[0] + ky * s.dilation[0]).checked_sub(s.pads[0]).filter(|y| *y < ih);
                let x = (pixel % w * s.stride[1] + kx * s.dilation[1]).checked_sub(s.pads[1]).filter(|x| *x < iw);
                if let (Some(y), Some(x)) = (y, x) {
                    let x = i64::from(data.x[(y * iw + x) * ic + o / outputs * inputs + c]);
                    let weight = i64::from(data.weights[((o * inputs + c) * kh + ky) * kw + kx]);
                    acc += (x - i64::from(case.x_zero)) * weight;
                }
            }
            let acc = i32::try_from(acc).unwrap() as f32;
            let steps = i64::from((acc * data.scale[o]).round_ties_even() as i32) + i64::from(zero);
            results.quantised[pixel * (case.shape.outputs + 3) + 2 + o] =
                steps.clamp(i64::from(low), i64::from(high)) as u8;
            let real = acc * data.scale[o] + data.offset[o];
            results.real.push(real.to_bits());
            min = min.min(real);
        }
        results.minima.push((min + 0.0).to_bits());
    }
    results
}

fn check(case: &Case) {
    let data = case.data();
    let expected = expected(case, &data);
    // One scratch for all: what an earlier run leaves must not matter.
    let mut scratches = [Scratch::default(), Scratch::default(), Scratch::default()];
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let results = results(case, &data, isa, &mut scratches[..threads]);
            assert_eq!(results, expected, "{isa:?}, shared by {threads}: {case:?}");
        }
    }
}

fn values() -> impl Strategy<Value = Values> {
    prop_oneof![
        4 => Just(Values::Random),
        4 => Just(Values::AboveMin),
        1 => prop_oneof![Just(0), 120..136_u8, Just(255)].prop_map(Values::Wide),
        1 => Just(Values::Extremes),
        3 => (any::<bool>(), 0..3_usize)
            .prop_map(|(x, w)| Values::Constant(if x { 255 } else { 0 }, [-128, -127, 127][w])),
    ]
}

/// Channels of input and output and groups, of each kind of convolution; multiples of a vector are frequent.
fn channels() -> impl Strategy<Value = (usize, usize, usize)> {
    let some = || prop_oneof![1_usize..70, (1_usize..5).prop_map(|n| 16 * n), Just(3)];
    prop_oneof![
        5 => (some(), some()).prop_map(|(i, o)| (i, o, 1)),
        3 => some().prop_map(|c| (c, c, c)),
        3 => (1_usize..9, 1_usize..9, 1_usize..9).prop_map(|(g, i, o)| (g * i, g * o, g)),
        1 => (2_usize..4, 1_usize..40, 1_usize..40).prop_map(|(g, i, o)| (g * i, g * o, g)),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let axis = || (1_usize..12, 1_usize..5, 1_usize..4, 0_usize..4, 0_usize..4, 1_usize..3);
    let width = prop_oneof![4 => 1_usize..14, 1 => 30_usize..72];
    (channels(), axis(), axis(), width, any::<bool>(), any::<u8>(), values(), any::<u64>()).prop_filter_map(
        "not valid",
        |((input, outputs, groups), v, h, width, point, x_zero, values, seed)| {
            let mut shape = ConvShape {
                input: [v.0, width, input],
                outputs,
                kernel: [v.1, h.1],
                stride: [v.2, h.2],
                pads: [v.3, h.3, v.4, h.4],
                dilation: [v.5, h.5],
                groups,
            };
            if point {
                (shape.kernel, shape.pads) = ([1, 1], [0; 4]);
            }
            shape.validate().ok().map(|()| Case { shape, x_zero, values, seed })
        },
    )
}

/// A convolution of 3x3 windows a pixel apart.
fn windows_of_3x3(input: [usize; 3], outputs: usize, pads: [usize; 4]) -> ConvShape {
    ConvShape { input, outputs, kernel: [3, 3], stride: [1, 1], pads, dilation: [1, 1], groups: 1 }
}

/// 3x3 windows a pixel apart, which some instruction sets take in tiles: edges of tiles, strips and shares.
fn tiled_case() -> impl Strategy<Value = Case> {
    let width = prop_oneof![3 => 5_usize..14, 1 => 30_usize..40, 1 => 60_usize..72];
    let channels = || (1_usize..5).prop_map(|n| 16 * n);
    let pads = || [0_usize..3, 0..3, 0..3, 0..3];
    (channels(), 16_usize..70, 2_usize..9, width, pads(), any::<u8>(), values(), any::<u64>()).prop_filter_map(
        "not valid",
        |(channels, outputs, height, width, pads, x_zero, values, seed)| {
            let shape = windows_of_3x3([height, width, channels], outputs, pads);
            shape.validate().ok().map(|()| Case { shape, x_zero, values, seed })
        },
    )
}

proptest! {
    #![proptest_config(fixed(150))]

    #[test]
    fn tiles_compute_the_definition(case in tiled_case()) {
        check(&case);
    }
}

proptest! {
    #![proptest_config(fixed(1500))]

    #[test]
    fn all_instruction_sets_compute_the_definition(case in case()) {
        check(&case);
    }

    #[test]
    fn any_size_is_valid_or_refused(
        input in [size(), size(), size()], outputs in size(), kernel in [size(), size()], stride in [size(), size()],
        pads in [size(), size(), size(), size()], dilation in [size(), size()], groups in size(),
    ) {
        let shape = ConvShape { input, outputs, kernel, stride, pads, dilation, groups };
        if shape.validate().is_ok() {
            prop_assert!(shape.output().iter().all(|d| *d > 0));
        }
        let refused = Conv::new(shape, &[], &[], 0, Isa::Portable).is_err();
        prop_assert!(refused, "a convolution without weights");
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..5, any::<usize>(), Just(usize::MAX), Just(1_usize << 31)]
}

/// The layers of a usual backbone, smaller in height only.
#[test]
fn layers_of_backbones() {
    for (input, outputs, kernel, stride, pad, groups) in [
        ([9, 64, 3], 16, 3, 2, 1, 1),
        ([5, 64, 16], 32, 3, 2, 1, 1),
        ([5, 64, 64], 64, 3, 1, 1, 64),
        ([5, 64, 64], 64, 3, 2, 1, 64),
        ([5, 16, 24], 24, 5, 1, 2, 24),
        ([2, 32, 96], 192, 1, 1, 0, 1),
        ([3, 32, 48], 64, 3, 1, 1, 1),
        ([1, 40, 192], 100, 1, 1, 0, 1),
        ([5, 40, 128], 128, 3, 1, 1, 32),
        ([5, 40, 64], 128, 3, 2, 1, 2),
        ([3, 40, 24], 48, 1, 1, 0, 3),
        ([3, 40, 24], 48, 3, 1, 1, 24),
        // More taps than kernels walk.
        ([9, 16, 8], 8, 7, 1, 3, 2),
    ] {
        let shape = ConvShape {
            input,
            outputs,
            kernel: [kernel; 2],
            stride: [stride; 2],
            pads: [pad; 4],
            dilation: [1; 2],
            groups,
        };
        let constant = [(0, -128), (0, -127), (0, 127), (255, -128), (255, -127), (255, 127)];
        let constant = constant.map(|(x, w)| Values::Constant(x, w));
        for values in
            [Values::Random, Values::AboveMin, Values::Extremes, Values::Wide(119)].into_iter().chain(constant)
        {
            check(&Case { shape: shape.clone(), x_zero: 131, values, seed: 5 });
        }
    }
}

#[test]
fn weights_of_nine_bits_are_sums_of_signed_bytes() {
    let all: Vec<i16> = (-255..=255).collect();
    for of in [&all[..], &all[127..383], &all[..300], &[]] {
        let parts = parts(of);
        let sums = (0..of.len()).map(|i| parts.iter().map(|p| i16::from(p[i])).sum::<i16>());
        assert!(sums.eq(of.iter().copied()), "{of:?}");
    }
    assert_eq!(parts(&all[127..383]).len(), 1, "-128 to 127 are whole");
}

/// The largest sums that tiles may have: four times them, and biases beyond that, stay exact or wrap.
#[test]
fn sums_of_tiles_are_exact_at_their_largest() {
    for (x, w) in [(255, -128), (255, 127), (0, -128)] {
        let shape = windows_of_3x3([2, 5, 512], 16, [1; 4]);
        check(&Case { shape, x_zero: 255 - x, values: Values::Constant(x, w), seed: 3 });
    }
}

#[test]
fn sums_of_more_pixels_than_32_bits_hold_are_sums_of_parts() {
    let x = vec![0; 3 * ((1 << 16) + 1)];
    for isa in Isa::available() {
        let mut y = [0.0; 3];
        pointwise::squares(isa, 255, 1.0, &x, &mut y);
        // What the floats nearest the two parts add up to.
        assert_eq!(y, [(65025_u64 << 16) as f32 + 65025.0; 3], "{isa:?}");
    }
}

#[test]
fn accumulators_wrap() {
    let shape = ConvShape {
        input: [1, 1, 64],
        outputs: 1,
        kernel: [1, 1],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
    };
    for isa in Isa::available() {
        let conv = Conv::new(shape.clone(), &[127; 64], &[i32::MAX], 0, isa).unwrap();
        let mut y = [0.0];
        conv.run(&[255; 64], Out::Real { y: &mut y, scale: &[1.0], bias: &[0.0] }, &mut [Scratch::default()]);
        assert_eq!(y, [i32::MAX.wrapping_add(64 * 127 * 255) as f32], "{isa:?}");
    }
}

#[test]
fn halves_go_to_even_and_far_results_saturate() {
    let shape = ConvShape {
        input: [1, 9, 1],
        outputs: 1,
        kernel: [1, 1],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
    };
    for isa in Isa::available() {
        let conv = Conv::new(shape.clone(), &[1], &[0], 100, isa).unwrap();
        let x = [97, 98, 99, 100, 101, 102, 103, 105, 255];
        let run = |scale: f32, zero, low, high| {
            let mut y = [0; 9];
            let out = Out::Quantised { y: &mut y, pitch: 1, offset: 0, scale: &[scale], zero, low, high };
            conv.run(&x, out, &mut [Scratch::default()]);
            y
        };
        assert_eq!(run(0.5, 10, 0, 255), [8, 9, 10, 10, 10, 11, 12, 12, 88], "{isa:?}");
        assert_eq!(run(1e30, 10, 0, 255), [0, 0, 0, 10, 255, 255, 255, 255, 255], "{isa:?}");
        assert_eq!(run(f32::MAX, 10, 5, 6), [5, 5, 5, 6, 6, 6, 6, 6, 6], "{isa:?}");
    }
}

#[test]
fn wrong_lengths_and_missing_instructions_are_refused() {
    let shape = windows_of_3x3([4, 4, 8], 8, [1; 4]);
    let new = |weights: usize, bias: usize, isa| {
        Conv::new(shape.clone(), &vec![1; weights], &vec![0; bias], 0, isa).err().map(|e| e.to_string())
    };
    assert_eq!(new(576, 8, Isa::best()), None);
    let expected = "a convolution has 575 elements of weights instead of 576";
    assert_eq!(new(575, 8, Isa::Portable).as_deref(), Some(expected));
    assert!(new(576, 7, Isa::Portable).is_some());
    for isa in Isa::ALL {
        assert_eq!(new(576, 8, isa).is_none(), Isa::available().any(|a| a == isa));
    }
}

#[test]
fn scratch_that_fits_is_not_grown_by_runs() {
    for (input, groups) in [([6, 40, 3], 1), ([6, 40, 32], 1), ([6, 40, 32], 32), ([6, 40, 32], 4)] {
        let shape =
            ConvShape { input, outputs: 32, kernel: [3, 3], stride: [1, 1], pads: [1; 4], dilation: [1, 1], groups };
        let case = Case { shape, x_zero: 3, values: Values::Random, seed: 9 };
        let data = case.data();
        for isa in Isa::available() {
            let mut scratches = [Scratch::default(), Scratch::default()];
            scratches.iter_mut().for_each(|s| s.fit(&case.conv(&data, isa)));
            let before = scratches.each_ref().map(Scratch::bytes);
            results(&case, &data, isa, &mut scratches);
            assert_eq!(scratches.each_ref().map(Scratch::bytes), before, "{isa:?}: {case:?}");
        }
    }
}

#[test]
fn bytes_are_added_averaged_and_stored_alike_on_every_instruction_set() {
    use super::Clamp;
    use super::pointwise::{self, Averaging, BinaryParams, Blending, Quantizing, Window};
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for length in (0..70).chain([1000]) {
        let a: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        let b: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        let [zero, low, high] = [rng.random(), rng.random_range(0..100), rng.random_range(100..=255u8)];
        // Powers of two give halves, the others everything else.
        let scale = if length % 2 == 0 { 0.5 } else { 0.37 };
        let clamp = Clamp { zero, low, high };
        let sum = BinaryParams { scales: [0.25, 0.11], zeros: [3.0, 200.0], y: scale, clamp };
        let mut floats: Vec<f32> = (0..length).map(|_| rng.random_range(-99.0..99.0f32).round() * 0.25).collect();
        if let Some(first) = floats.first_mut() {
            *first = f32::NEG_INFINITY;
        }
        let on_grid = |v: f32| ((v / scale).round_ties_even() + f32::from(zero)).clamp(low.into(), high.into()) as u8;
        let real = |(&a, &b): (&u8, &u8)| (f32::from(a) - 3.0) * 0.25 + (f32::from(b) - 200.0) * 0.11;
        let added: Vec<u8> = a.iter().zip(&b).map(real).map(on_grid).collect();
        let product = |(&a, &b): (&u8, &u8)| ((f32::from(a) - 3.0) * 0.25) * ((f32::from(b) - 200.0) * 0.11);
        let multiplied: Vec<u8> = a.iter().zip(&b).map(product).map(on_grid).collect();
        let leaky = |v: &f32| if *v < 0.0 { v * 0.1 } else { *v };
        let stored: Vec<u8> = floats.iter().map(leaky).map(on_grid).collect();
        let picture = a.repeat(9);
        let from_zero = |c: usize| picture.iter().skip(c).step_by(length).map(|&x| i64::from(x) - i64::from(zero));
        let sums: Vec<f32> = (0..length).map(|c| from_zero(c).sum::<i64>() as f32 * 0.37).collect();
        let squares: Vec<f32> = (0..length).map(|c| from_zero(c).map(|d| d * d).sum::<i64>() as f32 * 0.37).collect();
        for isa in Isa::available() {
            let mut real = vec![0.0; length];
            pointwise::sums(isa, zero, 0.37, &picture, &mut real);
            assert_eq!(bits(&real), bits(&sums), "{isa:?}");
            pointwise::squares(isa, zero, 0.37, &picture, &mut real);
            assert_eq!(bits(&real), bits(&squares), "{isa:?}");
            let mut y = vec![0; length];
            pointwise::add(isa, sum, &a, &b, &mut y);
            assert_eq!(y, added, "{isa:?}");
            pointwise::multiply(isa, sum, &a, &b, &mut y);
            assert_eq!(y, multiplied, "{isa:?}");
            pointwise::quantize(isa, Quantizing { scale, leak: 0.1, clamp }, &floats, &mut y);
            assert_eq!(y, stored, "{isa:?}");
            let mut others = |isa: Isa| {
                let [mut norm, mut distance] = [0.0, 0.0];
                pointwise::norm(isa, zero, 0.25, &a, &mut norm);
                pointwise::distance(isa, [3.0, 0.2], [&floats, &floats], &b, &mut distance);
                let window = Window { rows: [1, 3], columns: [0, 2], width: 3, outside: length as u32 % 3 };
                let to = Averaging { zero: 77, clamp };
                pointwise::average(isa, to, window, &picture, &floats, &mut y);
                let mut blended = vec![0; length];
                let to = Blending { from: 77, factor: 0.3, truncates: zero % 2 == 0, clamp };
                pointwise::blend(isa, to, [&a, &b, &a, &b], [0.1, 0.5, 0.15, 0.25], &mut blended);
                (norm.to_bits(), distance.to_bits(), y.clone(), blended)
            };
            assert_eq!(others(isa), others(Isa::Portable), "{isa:?}");
        }
    }
}
