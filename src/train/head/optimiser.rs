//! AdamW (Loshchilov and Hutter 2019, algorithm 2): Adam with the weight decay beside the gradient.

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;
const WEIGHT_DECAY: f64 = 1e-4;

pub(super) struct AdamW {
    /// Running means of the gradient and of its square.
    moments: Vec<[f32; 2]>,
    steps: i32,
}

impl AdamW {
    pub(super) fn new(count: usize) -> Self {
        Self { moments: vec![[0.0; 2]; count], steps: 0 }
    }

    /// One step against the gradient.
    pub(super) fn step(&mut self, numbers: &mut [f32], gradient: &[f32], rate: f64) {
        self.steps += 1;
        let [unbias, unbias_square] = BETAS.map(|beta| (1.0 / (1.0 - beta.powi(self.steps))) as f32);
        let [keep, keep_square] = BETAS.map(|beta| beta as f32);
        let [take, take_square] = BETAS.map(|beta| (1.0 - beta) as f32);
        let (decay, rate) = ((1.0 - rate * WEIGHT_DECAY) as f32, rate as f32);
        for ((x, [m, v]), g) in numbers.iter_mut().zip(&mut self.moments).zip(gradient) {
            *m = *m * keep + g * take;
            *v = *v * keep_square + g * g * take_square;
            *x = *x * decay - *m * unbias / ((*v * unbias_square).sqrt() + EPSILON) * rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_published() {
        let (mut x, mut optimiser) = ([1.0f32, -2.0], AdamW::new(2));
        // The first step is the rate against the gradient's sign, whatever its size, and the decay.
        optimiser.step(&mut x, &[3.0, -0.001], 0.1);
        assert!((x[0] - (1.0 - 0.1 * 1e-4 - 0.1)).abs() < 1e-6 && (x[1] - (-2.0 + 2e-5 + 0.1)).abs() < 1e-4, "{x:?}");
        // The second by hand, for gradients 3 and then 1: m = .9·.3 + .1, v = .999·.009 + .001.
        let before = x[0];
        optimiser.step(&mut x, &[1.0, 0.0], 0.1);
        let (m, v): (f64, f64) = (0.37 / (1.0 - 0.81), 0.009_991 / (1.0 - 0.998_001));
        let want = f64::from(before) * (1.0 - 1e-5) - 0.1 * m / (v.sqrt() + 1e-8);
        assert!((f64::from(x[0]) - want).abs() < 1e-6, "{x:?} {want}");
    }
}
