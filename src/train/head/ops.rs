//! The head's operators and losses, each with its gradient, on row-major slices.
//!
//! What ends in `_back` takes the gradient of an operator's output and gives, or turns it into, that of its input.

use super::parameters::{KEY, LEAK};
use crate::train::linear::{multiply, rows};

/// How far above the reference, in deviations, a known bad shall score.
pub(super) const MARGIN: f32 = 5.0;

/// A linear layer: where its weight `[out, in]` and then its bias `[out]` lie in the list of all numbers.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    pub(super) at: usize,
    pub(super) out: usize,
    pub(super) inp: usize,
}

impl Layer {
    /// The place behind its numbers.
    pub(super) fn end(&self) -> usize {
        self.at + self.out * (self.inp + 1)
    }

    pub(super) fn weight<'a>(&self, numbers: &'a [f32]) -> &'a [f32] {
        &numbers[self.at..self.end() - self.out]
    }

    pub(super) fn bias<'a>(&self, numbers: &'a [f32]) -> &'a [f32] {
        &numbers[self.end() - self.out..self.end()]
    }
}

/// `x [n, in]` through a layer: `[n, out]`.
pub(super) fn linear(x: &[f32], layer: Layer, numbers: &[f32], out: &mut [f32]) {
    out.chunks_exact_mut(layer.out).for_each(|row| row.copy_from_slice(layer.bias(numbers)));
    multiply(rows(x, layer.inp), rows(layer.weight(numbers), layer.inp).t(), 1.0, out);
}

/// Adds to `gradient` what `d [n, out]` says of a layer's numbers.
pub(super) fn linear_numbers_back(x: &[f32], d: &[f32], layer: Layer, gradient: &mut [f32]) {
    let (weight, bias) = gradient[layer.at..layer.end()].split_at_mut(layer.out * layer.inp);
    multiply(rows(d, layer.out).t(), rows(x, layer.inp), 1.0, weight);
    for row in d.chunks_exact(layer.out) {
        bias.iter_mut().zip(row).for_each(|(b, d)| *b += d);
    }
}

/// `d [n, out]` to the gradient of the layer's input `[n, in]`, added to `keep` times what stands there.
pub(super) fn linear_back(d: &[f32], layer: Layer, numbers: &[f32], keep: f32, out: &mut [f32]) {
    multiply(rows(d, layer.out), rows(layer.weight(numbers), layer.inp), keep, out);
}

pub(super) fn relu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = x.max(0.0));
}

/// `y` is what [`relu`] gave.
pub(super) fn relu_back(y: &[f32], d: &mut [f32]) {
    d.iter_mut().zip(y).for_each(|(d, &y)| *d = if y > 0.0 { *d } else { 0.0 });
}

/// Leaky ReLU. Before the last layer alone: with ReLU there a fit was seen to end with every channel at 0 and a constant
/// map.
pub(super) fn leaky(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x *= slope(*x));
}

/// `y` is what [`leaky`] gave.
pub(super) fn leaky_back(y: &[f32], d: &mut [f32]) {
    d.iter_mut().zip(y).for_each(|(d, &y)| *d *= slope(y));
}

fn slope(x: f32) -> f32 {
    if x >= 0.0 { 1.0 } else { LEAK as f32 }
}

/// Mean over 2x2 cells: `[4·m, c]`, plane-major (see [`place`](super::cells::place)), to `[m, c]`.
pub(super) fn halve(x: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for plane in x.chunks_exact(out.len()) {
        out.iter_mut().zip(plane).for_each(|(o, x)| *o += 0.25 * x);
    }
}

/// `by` times every cell of `[m, c]`, repeated 2x2 and added to `out` `[4·m, c]`, plane-major. With `by` .25 the gradient of
/// [`halve`].
pub(super) fn double(x: &[f32], by: f32, out: &mut [f32]) {
    for plane in out.chunks_exact_mut(x.len()) {
        plane.iter_mut().zip(x).for_each(|(o, x)| *o += by * x);
    }
}

/// Takes the gradient `d [4·m, c]` of [`double`]'s output to that of its input; gives that of `by`.
pub(super) fn double_back(x: &[f32], by: f32, d: &[f32], out: &mut [f32]) -> f32 {
    halve(d, out);
    let of_by = 4.0 * x.iter().zip(&*out).map(|(x, d)| x * d).sum::<f32>();
    out.iter_mut().for_each(|d| *d *= 4.0 * by);
    of_by
}

/// Scaled dot-product attention over `n` tokens, with what its gradient takes.
pub(super) struct Attention {
    /// Queries, `[n, KEY]`.
    pub(super) q: Vec<f32>,
    /// Keys, `[n, KEY]`.
    pub(super) k: Vec<f32>,
    /// Values, `[n, c]`.
    pub(super) v: Vec<f32>,
    /// What is attended to, `[n, c]`.
    pub(super) out: Vec<f32>,
    /// Gradients of `q`, `k` and `v`.
    pub(super) back: [Vec<f32>; 3],
    /// How much each token attends to each, `[n, n]`; rows add up to 1.
    shares: Vec<f32>,
    of_shares: Vec<f32>,
}

impl Attention {
    pub(super) fn new(tokens: usize, channels: usize) -> Self {
        let [keys, values, shares] = [KEY, channels, tokens].map(|columns| vec![0.0; tokens * columns]);
        Self {
            q: keys.clone(),
            k: keys.clone(),
            v: values.clone(),
            out: values.clone(),
            back: [keys.clone(), keys, values],
            shares: shares.clone(),
            of_shares: shares,
        }
    }

    /// `out = softmax(q·kᵀ / √KEY)·v`.
    pub(super) fn forward(&mut self) {
        let (n, c) = self.tokens();
        multiply(rows(&self.q, KEY), rows(&self.k, KEY).t(), 0.0, &mut self.shares);
        for row in self.shares.chunks_exact_mut(n) {
            // Of each row: with the largest of all, a row far below it would underflow to 0 / 0.
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            row.iter_mut().for_each(|s| *s = ((*s - largest) * SCALE).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|s| *s /= sum);
        }
        multiply(rows(&self.shares, n), rows(&self.v, c), 0.0, &mut self.out);
    }

    /// Takes the gradient of `out` to those of `q`, `k` and `v`: `back`.
    pub(super) fn backward(&mut self, d: &[f32]) {
        let (n, c) = self.tokens();
        let [dq, dk, dv] = &mut self.back;
        multiply(rows(&self.shares, n).t(), rows(d, c), 0.0, dv);
        multiply(rows(d, c), rows(&self.v, c).t(), 0.0, &mut self.of_shares);
        let ends = d.chunks_exact(c).zip(self.out.chunks_exact(c));
        let both = self.of_shares.chunks_exact_mut(n).zip(self.shares.chunks_exact(n));
        for ((of, shares), (d, out)) in both.zip(ends) {
            let mean: f32 = d.iter().zip(out).map(|(d, o)| d * o).sum();
            of.iter_mut().zip(shares).for_each(|(of, share)| *of = share * (*of - mean) * SCALE);
        }
        multiply(rows(&self.of_shares, n), rows(&self.k, KEY), 0.0, dq);
        multiply(rows(&self.of_shares, n).t(), rows(&self.q, KEY), 0.0, dk);
    }

    /// How many, and how wide their values are.
    fn tokens(&self) -> (usize, usize) {
        let n = self.q.len() / KEY;
        (n, self.v.len() / n)
    }
}

/// `1 / √KEY`.
const SCALE: f32 = 0.25;
const _: () = assert!(SCALE * SCALE * KEY as f32 == 1.0, "SCALE belongs to KEY");

/// Mean of the `count` largest values of a map, and where they are; of equals the first.
pub(super) fn top_mean(map: &[f32], count: usize) -> (f32, Vec<usize>) {
    let mut at: Vec<usize> = (0..map.len()).collect();
    at.select_nth_unstable_by(count - 1, |&a, &b| map[b].total_cmp(&map[a]).then(a.cmp(&b)));
    at.truncate(count);
    (at.iter().map(|&i| map[i]).sum::<f32>() / count as f32, at)
}

/// The deviation loss of a score against a reference of given mean and deviation, and its slope.
pub(super) fn deviation(score: f32, is_bad: bool, [mean, std]: [f64; 2]) -> [f32; 2] {
    let (mean, std) = (mean as f32, std as f32);
    let dev = (score - mean) / std;
    match is_bad {
        false => [dev.abs(), dev.signum() / std],
        true if dev <= MARGIN => [MARGIN - dev, -1.0 / std],
        true => [0.0, 0.0],
    }
}

/// Binary cross entropy of logits against a mask, averaged: `max(x, 0) - x·m + ln(1 + exp(-|x|))`. Turns the logits into
/// their gradient.
pub(super) fn cross_entropy(logits: &mut [f32], mask: &[f32]) -> f32 {
    let n = logits.len() as f32;
    let mut sum = 0.0;
    for (x, m) in logits.iter_mut().zip(mask) {
        let e = (-x.abs()).exp();
        sum += x.max(0.0) - *x * m + (1.0 + e).ln();
        let sigmoid = if *x >= 0.0 { 1.0 } else { e } / (1.0 + e);
        *x = (sigmoid - m) / n;
    }
    sum / n
}

/// Mean squared difference of values from what they were. Turns them into their gradient.
pub(super) fn squared_error(is: &mut [f32], was: &[f32]) -> f32 {
    let n = is.len() as f32;
    let mut sum = 0.0;
    for (is, was) in is.iter_mut().zip(was) {
        let difference = *is - was;
        sum += difference * difference;
        *is = 2.0 * difference / n;
    }
    sum / n
}

#[cfg(test)]
pub(super) mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Compares the gradient that `f` gives beside its value at `at` with central differences, everywhere. A difference
    /// over a kink is none: one of the steps must agree.
    pub(in crate::train::head) fn check_at(
        name: &str,
        at: &[f32],
        steps: &[f32],
        f: impl Fn(&[f32]) -> (f32, Vec<f32>) + Sync,
    ) {
        use rayon::prelude::*;
        let (_, got) = f(at);
        assert_eq!(got.len(), at.len(), "{name}");
        (0..at.len()).into_par_iter().for_each(|i| {
            let difference = |step: &f32| {
                let (mut up, mut down) = (at.to_vec(), at.to_vec());
                up[i] += step;
                down[i] -= step;
                (f64::from(f(&up).0) - f64::from(f(&down).0)) / f64::from(up[i] - down[i])
            };
            let is_near = |want: f64| (f64::from(got[i]) - want).abs() < 2e-2 * want.abs().max(0.1);
            let is_right = steps.iter().any(|step| is_near(difference(step)));
            let wanted = || steps.iter().map(difference).collect::<Vec<f64>>();
            assert!(is_right, "{name}[{i}]: gradient {} but differences say {:?}", got[i], wanted());
        });
    }

    fn check(name: &str, n: usize, f: impl Fn(&[f32]) -> (f32, Vec<f32>) + Sync) {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        // Values away from 0, where the kinks of relu and abs are.
        let at: Vec<f32> =
            (0..n).map(|_| rng.random_range(0.1f32..1.5) * if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
        check_at(name, &at, &[1e-2], f);
    }

    /// Uneven weights, so that no gradient can hide behind symmetry.
    fn weights(n: usize) -> Vec<f32> {
        (0..n).map(|i| 0.3 + ((i * 7) % 5) as f32 * 0.2).collect()
    }

    /// Reduces to a scalar with uneven weights.
    fn uneven(x: &[f32]) -> f32 {
        x.iter().zip(weights(x.len())).map(|(x, w)| x * w).sum()
    }

    fn numbers(n: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect()
    }

    #[test]
    fn gradients_of_linear_layers_match_finite_differences() {
        let layer = Layer { at: 2, out: 3, inp: 4 };
        let all = numbers(layer.end() + 2);
        let through = |x: &[f32], numbers: &[f32]| {
            let mut out = vec![0.0; x.len() / 4 * 3];
            linear(x, layer, numbers, &mut out);
            out
        };
        check("linear in x", 20, |x| {
            let mut back = vec![1.0; 20];
            linear_back(&weights(15), layer, &all, 0.0, &mut back);
            (uneven(&through(x, &all)), back)
        });
        check("linear in x, on top", 20, |x| {
            let mut back = weights(20);
            linear_back(&weights(15), layer, &all, 1.0, &mut back);
            (uneven(&through(x, &all)) + uneven(x), back)
        });
        // Of a narrow part of all numbers: the others have a gradient of 0.
        for (name, x) in [("linear in w", numbers(24)), ("bias", vec![1.0; 20])] {
            check(name, all.len(), |all| {
                let mut back = vec![0.0; all.len()];
                linear_numbers_back(&x, &weights(x.len() / 4 * 3), layer, &mut back);
                (uneven(&through(&x, all)), back)
            });
        }
        let mut back = vec![0.0; all.len()];
        linear_numbers_back(&numbers(24), &weights(18), layer, &mut back);
        assert!(back[2..layer.end()].iter().all(|&d| d != 0.0), "{back:?}");
        assert_eq!((&back[..2], &back[layer.end()..]), (&[0.0; 2][..], &[0.0; 2][..]), "narrow");
    }

    #[test]
    fn gradients_of_every_op_match_finite_differences() {
        type InPlace = (fn(&mut [f32]), fn(&[f32], &mut [f32]));
        let in_place: [(&str, InPlace); 2] = [("relu", (relu, relu_back)), ("leaky", (leaky, leaky_back))];
        for (name, (op, op_back)) in in_place {
            check(name, 20, |x| {
                let (mut y, mut back) = (x.to_vec(), weights(20));
                op(&mut y);
                op_back(&y, &mut back);
                (uneven(&y), back)
            });
        }
        check("halve", 16 * 3, |x| {
            let (mut y, mut back) = ([0.0; 12], vec![0.0; 48]);
            halve(x, &mut y);
            double(&weights(12), 0.25, &mut back);
            (uneven(&y), back)
        });
        let double_by = |x: &[f32], by: f32| {
            let (mut y, mut back) = (vec![0.0; 48], vec![0.0; 12]);
            double(x, by, &mut y);
            let of_by = double_back(x, by, &weights(48), &mut back);
            (uneven(&y), back, of_by)
        };
        check("double", 12, |x| {
            let (y, back, _) = double_by(x, 0.7);
            (y, back)
        });
        check("scale by gamma", 1, |by| {
            let (y, _, of_by) = double_by(&numbers(12), by[0]);
            (y, vec![of_by])
        });
        let fixed = numbers(6 * 16);
        for (i, name) in ["attention in q", "attention in k", "attention in v"].into_iter().enumerate() {
            check(name, 6 * 16, |x| {
                let mut attention = Attention::new(6, 16);
                let Attention { q, k, v, .. } = &mut attention;
                for (j, part) in [q, k, v].into_iter().enumerate() {
                    part.copy_from_slice(if i == j { x } else { &fixed });
                }
                attention.forward();
                attention.backward(&weights(6 * 16));
                (uneven(&attention.out), attention.back[i].clone())
            });
        }
    }

    #[test]
    fn gradients_of_losses_match_finite_differences() {
        check("top mean", 9, |map| {
            let (mean, top) = top_mean(map, 2);
            let back = (0..9).map(|i| if top.contains(&i) { 0.5 } else { 0.0 }).collect();
            (mean, back)
        });
        check("deviation loss", 4, |scores| {
            let each: Vec<_> = scores.iter().enumerate().map(|(i, &s)| deviation(s, i % 2 == 1, [0.02, 1.1])).collect();
            (each.iter().map(|e| e[0]).sum(), each.iter().map(|e| e[1]).collect())
        });
        let mask = [0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
        check("cross entropy", 6, |x| {
            let mut back = x.to_vec();
            (cross_entropy(&mut back, &mask), back)
        });
        check("squared error", 6, |x| {
            let mut back = x.to_vec();
            (squared_error(&mut back, &mask), back)
        });
    }

    #[test]
    fn the_deviation_loss_has_its_published_values() {
        let loss = |s: f32, is_bad: bool| deviation(s, is_bad, [0.0, 1.0])[0];
        assert_eq!(loss(2.0, false), 2.0);
        assert_eq!(loss(-2.0, false), 2.0);
        assert_eq!(loss(2.0, true), 3.0);
        assert_eq!(loss(6.0, true), 0.0);
    }

    #[test]
    fn the_first_of_equal_cells_are_the_largest() {
        let (mean, mut top) = top_mean(&[1.0, 2.0, 2.0, 0.0, 2.0], 2);
        top.sort_unstable();
        assert_eq!((mean, top), (2.0, vec![1, 2]));
    }
}
