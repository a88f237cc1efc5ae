//! The head's operators and losses, written as products wherever candle is fast at them.

use candle_core::{DType, Device, Result as Candle, Tensor, Var};

use super::{KEY, LEAK};

/// How far above the reference, in deviations, a known bad shall score.
pub(super) const MARGIN: f64 = 5.0;

/// `x [n, in]` through weight `[out, in]` and bias `[out]`.
///
/// The bias enters as a product with ones: its gradient is then a matrix product as well, where candle would sum a
/// broadcast element by element (a tenth of the fit's time).
pub(super) fn linear(x: &Tensor, layer: &[Var; 2]) -> Candle<Tensor> {
    let ones = Tensor::ones((x.dim(0)?, 1), DType::F32, &Device::Cpu)?;
    x.matmul(&layer[0].t()?)? + ones.matmul(&layer[1].unsqueeze(0)?)?
}

/// Leaky ReLU. Before the last layer alone: with ReLU there a fit was seen to end with every channel at 0 and a constant
/// map.
pub(super) fn leaky(x: &Tensor) -> Candle<Tensor> {
    (x.relu()? * (1.0 - LEAK))? + (x * LEAK)?
}

/// Mean over 2x2 cells: `[4·m, c]`, plane-major (see [`place`](super::cells::place)), to `[m, c]`.
///
/// A product with constants, like [`double`] and [`scale`]: matrix products and their gradients run at the processor's
/// speed, candle's strided reductions and broadcasts at a tenth of it.
pub(super) fn halve(x: &Tensor) -> Candle<Tensor> {
    let (n, c) = x.dims2()?;
    let quarter = Tensor::full(0.25f32, (1, 4), &Device::Cpu)?;
    quarter.matmul(&x.reshape((4, n / 4 * c))?)?.reshape((n / 4, c))
}

/// Every cell of `[m, c]` repeated 2x2: `[4·m, c]`, plane-major.
pub(super) fn double(x: &Tensor) -> Candle<Tensor> {
    let (m, c) = x.dims2()?;
    let ones = Tensor::ones((4, 1), DType::F32, &Device::Cpu)?;
    ones.matmul(&x.reshape((1, m * c))?)?.reshape((4 * m, c))
}

/// `x` times the scalar `by` `[1, 1]`.
pub(super) fn scale(x: &Tensor, by: &Tensor) -> Candle<Tensor> {
    x.reshape((x.elem_count(), 1))?.matmul(by)?.reshape(x.shape())
}

/// Scaled dot-product attention over `[B, n, c]` tokens.
///
/// The softmax is written as `(e·v) / (e·1)`, `e = exp(scores - largest)`, for the same reason.
pub(super) fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Candle<Tensor> {
    let (b, n, _) = v.dims3()?;
    let scores = (q.matmul(&k.t()?)? * (1.0 / (KEY as f64).sqrt()))?;
    // Of each row: with the largest of all, a row far below it would underflow to 0 / 0.
    let largest = scores.detach().max_keepdim(2)?;
    let e = scores.broadcast_sub(&largest)?.exp()?;
    let sums = e.matmul(&Tensor::ones((b, n, 1), DType::F32, &Device::Cpu)?)?;
    e.matmul(v)?.broadcast_div(&sums)
}

/// Mean of the `count` largest values of each row of `[B, n]`.
pub(super) fn top_mean(map: &Tensor, count: usize) -> Candle<Tensor> {
    let order = map.detach().contiguous()?.arg_sort_last_dim(false)?;
    map.gather(&order.narrow(1, 0, count)?.contiguous()?, 1)?.mean(1)
}

/// The deviation loss of scores `[B]` with labels `[B]`, against a reference of given mean and deviation.
pub(super) fn deviation(scores: &Tensor, labels: &Tensor, mean: f64, std: f64) -> Candle<Tensor> {
    let dev = ((scores - mean)? / std)?;
    let good = ((1.0 - labels)? * dev.abs()?)?;
    let bad = (labels * (MARGIN - dev)?.relu()?)?;
    (good + bad)?.mean_all()
}

/// Binary cross entropy of logits against a mask, averaged: `max(x, 0) - x·m + ln(1 + exp(-|x|))`.
pub(super) fn cross_entropy(logits: &Tensor, mask: &Tensor) -> Candle<Tensor> {
    let soft = ((logits.abs()?.neg()?.exp()? + 1.0)?).log()?;
    ((logits.relu()? - (logits * mask)?)? + soft)?.mean_all()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Compares candle's gradient of `f` at `x` with central differences, everywhere.
    fn check(name: &str, dims: &[usize], f: impl Fn(&Tensor) -> Candle<Tensor>) {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let n: usize = dims.iter().product();
        // Values away from 0, where the kinks of relu and abs are.
        let at: Vec<f32> =
            (0..n).map(|_| rng.random_range(0.1f32..1.5) * if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
        let var = Var::from_slice(&at, dims, &Device::Cpu).expect("var");
        let grads = f(&var).expect(name).backward().expect(name);
        let got: Vec<f32> = grads.get(&var).expect(name).flatten_all().expect(name).to_vec1().expect(name);
        let value = |v: &[f32]| {
            let t = Tensor::from_slice(v, dims, &Device::Cpu).expect("tensor");
            f64::from(f(&t).expect(name).to_scalar::<f32>().expect(name))
        };
        let step = 1e-2f32;
        for i in 0..n {
            let (mut up, mut down) = (at.clone(), at.clone());
            up[i] += step;
            down[i] -= step;
            let want = (value(&up) - value(&down)) / (2.0 * f64::from(step));
            let error = (f64::from(got[i]) - want).abs();
            assert!(error < 2e-2 * want.abs().max(0.1), "{name}[{i}]: gradient {} but differences say {want}", got[i]);
        }
    }

    /// Reduces to a scalar with uneven weights, so that no gradient can hide behind symmetry.
    fn uneven(x: &Tensor) -> Candle<Tensor> {
        let n = x.elem_count();
        let w: Vec<f32> = (0..n).map(|i| 0.3 + ((i * 7) % 5) as f32 * 0.2).collect();
        (x.flatten_all()? * Tensor::from_vec(w, n, &Device::Cpu)?)?.sum_all()
    }

    fn layer(out: usize, inp: usize) -> [Var; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let w: Vec<f32> = (0..out * inp).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        [
            Var::from_vec(w, (out, inp), &Device::Cpu).expect("w"),
            Var::from_vec(vec![0.3f32; out], out, &Device::Cpu).expect("b"),
        ]
    }

    #[test]
    fn gradients_of_every_op_match_finite_differences() {
        let a = layer(3, 4);
        check("linear in x", &[5, 4], |x| uneven(&linear(x, &a)?));
        check("linear in w", &[3, 4], |w| {
            let x = layer(6, 4)[0].as_tensor().clone();
            uneven(&x.matmul(&w.t()?)?.broadcast_add(&a[1])?)
        });
        check("bias", &[3], |b| {
            let x = Tensor::ones((5, 3), DType::F32, &Device::Cpu)?;
            uneven(&(x + Tensor::ones((5, 1), DType::F32, &Device::Cpu)?.matmul(&b.unsqueeze(0)?)?)?)
        });
        check("relu", &[5, 4], |x| uneven(&x.relu()?));
        check("leaky", &[5, 4], |x| uneven(&leaky(x)?));
        check("halve", &[16, 3], |x| uneven(&halve(x)?));
        check("double", &[4, 3], |x| uneven(&double(x)?));
        let fixed = layer(12, 16)[0].as_tensor().reshape((2, 6, 16)).expect("reshape");
        check("attention in q", &[2, 6, 16], |q| uneven(&attend(q, &fixed, &fixed)?));
        check("attention in k", &[2, 6, 16], |k| uneven(&attend(&fixed, k, &fixed)?));
        check("attention in v", &[2, 6, 16], |v| uneven(&attend(&fixed, &fixed, v)?));
        check("scale by gamma", &[1, 1], |g| uneven(&scale(&fixed, g)?));
        check("top mean", &[3, 9], |m| uneven(&top_mean(m, 2)?));
        check("narrow", &[4, 3], |m| uneven(&m.narrow(0, 1, 2)?));
        let labels = Tensor::from_slice(&[0f32, 1.0, 0.0, 1.0], 4, &Device::Cpu).expect("labels");
        check("deviation loss", &[4], |s| deviation(s, &labels, 0.02, 1.1));
        let mask = Tensor::from_slice(&[0f32, 1.0, 1.0, 0.0, 0.0, 1.0], (2, 3), &Device::Cpu).expect("mask");
        check("cross entropy", &[2, 3], |x| cross_entropy(x, &mask));
    }

    #[test]
    fn the_deviation_loss_has_its_published_values() {
        let t = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu).expect("t");
        let loss =
            |s: f32, y: f32| deviation(&t(&[s]), &t(&[y]), 0.0, 1.0).expect("loss").to_scalar::<f32>().expect("scalar");
        assert_eq!(loss(2.0, 0.0), 2.0);
        assert_eq!(loss(-2.0, 0.0), 2.0);
        assert_eq!(loss(2.0, 1.0), 3.0);
        assert_eq!(loss(6.0, 1.0), 0.0);
    }
}
