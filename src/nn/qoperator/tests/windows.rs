//! What slides over pictures and what makes them larger.

use rand::Rng as _;

use super::network::{Network, Rule, Tensor};
use crate::nn::onnx::Attr;

/// Kernel, stride and pads.
type Sizes = ([usize; 2], [usize; 2], [usize; 4]);

impl Network {
    pub(super) fn max_pool(&mut self) {
        let i = self.pick();
        // Nothing says what grid the input is on.
        if i == 0 {
            return self.average_pool();
        }
        let (shape, sizes) = (self.made[i].shape, self.window(i));
        let y = Tensor { name: self.next_name(), shape: slid(shape, sizes), ..self.made[i].clone() };
        let rule = move |all: &[Vec<f64>]| {
            windows(&all[i], shape, sizes).map(|w| w.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect()
        };
        // What was cut off before it is whole now.
        let (inputs, y) = ([self.made[i].name.clone()], Tensor { cuts: false, ..y });
        self.add_pool("MaxPool", &inputs, y, sizes, None, Box::new(rule));
    }

    pub(super) fn average_pool(&mut self) {
        let i = self.pick();
        let (shape, sizes, counts) = (self.made[i].shape, self.window(i), self.rng.random_bool(0.5));
        let y = self.tensor(slid(shape, sizes), self.reach(i));
        let mut inputs = self.operand(i, "x").to_vec();
        inputs.extend(self.grid(&y));
        let all_cells = (sizes.0[0] * sizes.0[1]) as f64;
        let mean = move |w: Vec<f64>| w.iter().sum::<f64>() / if counts { all_cells } else { w.len() as f64 };
        let rule = move |all: &[Vec<f64>]| windows(&all[i], shape, sizes).map(mean).collect();
        self.add_pool("QLinearAveragePool", &inputs, y, sizes, Some(counts), Box::new(rule));
    }

    pub(super) fn mean(&mut self) {
        let i = self.pick();
        let [c, h, w] = self.made[i].shape;
        let y = self.tensor([c, 1, 1], self.reach(i) / 2.0);
        let mut inputs = self.operand(i, "x").to_vec();
        inputs.extend(self.grid(&y));
        let mean = move |plane: &[f64]| plane.iter().sum::<f64>() / (h * w) as f64;
        let rule = move |all: &[Vec<f64>]| all[i].chunks_exact(h * w).map(mean).collect();
        self.add_node("QLinearGlobalAveragePool", &inputs, y, &[], Box::new(rule));
    }

    /// A blend of neighbours, of bytes or of what they stand for.
    pub(super) fn resize(&mut self, of_bytes: bool) {
        let i = self.pick();
        let x = self.made[i].clone();
        if (of_bytes && i == 0) || x.shape.iter().product::<usize>() > 2000 {
            return self.add();
        }
        let mode = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"][self.rng.random_range(0..4)];
        let factor = [self.rng.random_range(1..5usize), self.rng.random_range(1..5usize)];
        let [c, h, w] = x.shape;
        let shape = [c, h * factor[0], w * factor[1]];
        let name = self.next_name();
        let scales = self.graph.f32(&format!("{name}.times"), &[4], &[1.0, 1.0, factor[0] as f32, factor[1] as f32]);
        let attributes = [Attr::Str("mode", "linear"), Attr::Str("coordinate_transformation_mode", mode)];
        let rule = move |all: &[Vec<f64>]| {
            let at = |plane: usize, row: f64, column: f64| {
                let cell = |r: f64, q: f64| all[i][(plane * h + (r as usize).min(h - 1)) * w + (q as usize).min(w - 1)];
                let (top, left) = (row.floor(), column.floor());
                let (down, across) = (row - top, column - left);
                let upper = cell(top, left) * (1.0 - across) + cell(top, left + 1.0) * across;
                let lower = cell(top + 1.0, left) * (1.0 - across) + cell(top + 1.0, left + 1.0) * across;
                upper * (1.0 - down) + lower * down
            };
            let place =
                |(plane, row, column)| at(plane, source(row, h, factor[0], mode), source(column, w, factor[1], mode));
            cells(shape).map(place).collect()
        };
        if of_bytes {
            let (inputs, y) = ([x.name.clone(), String::new(), scales], Tensor { name, shape, cuts: true, ..x });
            return self.add_node("Resize", &inputs, y, &attributes, Box::new(rule));
        }
        let y = self.tensor(shape, self.reach(i));
        let [stored, scale, zero] = self.operand(i, "x");
        let real = self.graph.node("DequantizeLinear", &[&stored, &scale, &zero], &format!("{name}.x"), &[]);
        let large = self.graph.node("Resize", &[&real, "", &scales], &format!("{name}.large"), &attributes);
        let [scale, zero] = self.grid(&y);
        self.add_node("QuantizeLinear", &[large, scale, zero], y, &[], Box::new(rule));
    }

    /// Kernel, stride and pads of a window over tensor `i`.
    fn window(&mut self, i: usize) -> Sizes {
        let [_, h, w] = self.made[i].shape;
        let kernel = [self.rng.random_range(1..=h.min(4)), self.rng.random_range(1..=w.min(4))];
        let stride = [self.rng.random_range(1..=3), self.rng.random_range(1..=3)];
        let pads = [0, 1, 0, 1].map(|axis: usize| self.rng.random_range(0..kernel[axis]));
        (kernel, stride, pads)
    }

    fn add_pool(&mut self, op: &str, inputs: &[String], y: Tensor, sizes: Sizes, counts: Option<bool>, rule: Rule) {
        let (kernel, stride, pads) = (sizes.0.map(|v| v as i64), sizes.1.map(|v| v as i64), sizes.2.map(|v| v as i64));
        let mut attributes =
            vec![Attr::Ints("kernel_shape", &kernel), Attr::Ints("strides", &stride), Attr::Ints("pads", &pads)];
        attributes.extend(counts.map(|counts| Attr::Int("count_include_pad", counts.into())));
        self.add_node(op, inputs, y, &attributes, rule);
    }
}

/// All places of three sizes, in order.
pub(super) fn cells([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / c / b, i / c % b, i % c))
}

/// Where a padded place lies, if it lies inside.
pub(super) fn inside(at: usize, before: usize, size: usize) -> Option<usize> {
    at.checked_sub(before).filter(|at| *at < size)
}

fn slid([c, h, w]: [usize; 3], (kernel, stride, pads): Sizes) -> [usize; 3] {
    let along = |n: usize, axis: usize| (n + pads[axis] + pads[axis + 2] - kernel[axis]) / stride[axis] + 1;
    [c, along(h, 0), along(w, 1)]
}

/// The numbers of each window that lie inside of the picture.
fn windows(x: &[f64], shape: [usize; 3], sizes: Sizes) -> impl Iterator<Item = Vec<f64>> + '_ {
    let ([_, h, w], (kernel, stride, pads)) = (shape, sizes);
    cells(slid(shape, sizes)).map(move |(c, row, column)| {
        let taps = cells([1, kernel[0], kernel[1]]).filter_map(|(_, ky, kx)| {
            let row = inside(row * stride[0] + ky, pads[0], h)?;
            Some((row, inside(column * stride[1] + kx, pads[1], w)?))
        });
        taps.map(|(r, q)| x[(c * h + r) * w + q]).collect()
    })
}

/// Where cell `at` of a side `factor` times `size` lies in the smaller one, as ONNX has it.
fn source(at: usize, size: usize, factor: usize, mode: &str) -> f64 {
    let (x, scale, larger) = (at as f64, factor as f64, size * factor);
    let place = match mode {
        "asymmetric" => x / scale,
        "align_corners" if larger == 1 => 0.0,
        "align_corners" => x * (size - 1) as f64 / (larger - 1) as f64,
        "pytorch_half_pixel" if larger == 1 => 0.0,
        _ => (x + 0.5) / scale - 0.5,
    };
    place.clamp(0.0, (size - 1) as f64)
}
