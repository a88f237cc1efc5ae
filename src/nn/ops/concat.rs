//! `a.q, b.q… ─ DQ ─ [AveragePool] ─ [· gain] ─ [Resize] ─ Concat ─ Q ─ y.q`: features side by side.
//!
//! A Resize that repeats cells is a concatenation of one tensor.

use super::super::attributes::{int, pads, pair, string};
use super::super::graph_view::GraphView;
use super::super::int8::pointwise::{self, Averaging, Window};
use super::super::int8::{Clamp, Isa};
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};
use super::resize;

pub(super) const PATTERN: Pattern = Pattern { nodes: &["Concat"], find };

/// A Resize that repeats cells.
pub(super) const REPEAT: Pattern = Pattern {
    nodes: &["Resize"],
    find: |view, i| {
        resize::find(view, i, |view, node, resized| {
            let repeat = resize::repeats(view, node, &resized.name)?;
            let branch = Branch { x: resized.x, window: [1, 1], gain: Vec::new(), repeat };
            Some(Concat { branches: vec![branch], y: resized.y })
        })
    },
};

fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    if int(node, "axis", 0) != 1 {
        return None;
    }
    let closing = view.closing(&node.output[0])?;
    if !closing.is_open() {
        return None;
    }
    let mut nodes = closing.nodes;
    let (mut x, mut branches) = (Vec::new(), Vec::new());
    for input in &node.input {
        let (name, branch, of) = branch(view, input)?;
        x.push(name);
        branches.push(branch);
        nodes.extend(of);
    }
    Some(FusedOp::new(view, i, x, closing.y, Concat { branches, y: closing.quantized }, nodes))
}

/// What one input of a concatenation is made of, from its end to its beginning: the quantised tensor, what is done with
/// it, and the nodes that do it.
fn branch(view: &GraphView<'_>, tensor: &str) -> Option<(String, Branch, Vec<usize>)> {
    let (mut at, mut nodes) = (tensor, Vec::new());
    let (mut window, mut gain, mut repeat) = ([1, 1], Vec::new(), 1);
    loop {
        if let Some((name, x)) = view.quantized(at) {
            return Some((name, Branch { x, window, gain, repeat }, nodes));
        }
        let (m, n) = view.only_maker(at)?;
        match n.op_type.as_str() {
            // In this order alone: what comes later in the graph comes first here.
            "Resize" if gain.is_empty() && window == [1, 1] && repeat == 1 => {
                repeat = resize::repeats(view, n, n.input.first()?)?;
            }
            "Mul" if gain.is_empty() && window == [1, 1] => {
                gain = view.floats(n.input.get(1)?)?;
                let dims = &view.constant(&n.input[1])?.dims;
                if dims.iter().filter(|&&d| d != 1).count() > 1
                    || dims.len() < 3
                    || dims[dims.len() - 3] != gain.len() as i64
                {
                    return None;
                }
            }
            "AveragePool" if window == [1, 1] => {
                let [height, width] = pair(n, "kernel_shape", 0)?;
                let around = [height / 2, width / 2, height / 2, width / 2];
                let is_plain =
                    height % 2 == 1 && width % 2 == 1 && pads(n)? == around && pair(n, "strides", 1)? == [1, 1];
                let is_ours = is_plain && pair(n, "dilations", 1)? == [1, 1] && int(n, "count_include_pad", 0) == 0;
                if !is_ours || string(n, "auto_pad").is_some() || int(n, "ceil_mode", 0) != 0 {
                    return None;
                }
                window = [height, width];
            }
            _ => return None,
        }
        nodes.push(m);
        at = n.input[0].as_str();
    }
}

/// Quantised tensors side by side, each averaged over neighbours, multiplied and repeated first.
#[derive(Debug)]
struct Concat {
    branches: Vec<Branch>,
    y: QuantizedType,
}

/// One of them.
#[derive(Debug)]
struct Branch {
    x: QuantizedType,
    /// Sides of the window that is averaged, an odd number each; what lies outside of the image does not count.
    window: [usize; 2],
    /// For each channel; empty for 1.
    gain: Vec<f32>,
    /// How often each cell is repeated along each side.
    repeat: usize,
}

impl IntOp for Concat {
    fn input(&self, at: usize) -> DType {
        self.branches[at].x.dtype()
    }

    fn output(&self) -> DType {
        self.y.dtype()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        let enlarged = |(branch, x): (&Branch, &TensorShape)| {
            let [height, width, channels] = x.hwc;
            let is_ours = channels > 0 && (branch.gain.is_empty() || branch.gain.len() == channels);
            is_ours.then_some([height.checked_mul(branch.repeat)?, width.checked_mul(branch.repeat)?])
        };
        let sizes: Option<Vec<[usize; 2]>> = self.branches.iter().zip(x).map(enlarged).collect();
        let channels = x.iter().map(|x| x.hwc[2]).sum();
        match sizes.as_deref() {
            Some([first, others @ ..]) if others.iter().all(|size| size == first) => {
                Ok(TensorShape::image([first[0], first[1], channels]))
            }
            _ => Err("inputs that do not lie on each other".into()),
        }
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let mut offset = 0;
        let averaged = |(branch, &input): (&Branch, &Hwc)| {
            let gain = |c: usize| branch.gain.get(c).copied().unwrap_or(1.0);
            let is_alike = branch.window == [1, 1] && branch.gain.is_empty();
            let mut one = AveragedBranch {
                isa,
                input,
                reach: [branch.window[0] / 2, branch.window[1] / 2],
                repeat: branch.repeat,
                offset,
                zero_point: branch.x.zero_point(),
                factor: (0..input[2]).map(|c| branch.x.scale() * gain(c) / self.y.scale()).collect(),
                clamp: self.y.clamp(),
                table: None,
                is_copy: is_alike && branch.x == self.y,
            };
            if is_alike {
                one.table = Some(std::array::from_fn(|byte| one.byte(byte as f32, one.factor[0])));
            }
            offset += input[2];
            one
        };
        let branches = self.branches.iter().zip(x).map(averaged).collect();
        Ok(Step::bytes(ConcatStep { branches, pitch: offset }))
    }
}

struct ConcatStep {
    branches: Vec<AveragedBranch>,
    pitch: usize,
}

struct AveragedBranch {
    isa: Isa,
    input: Hwc,
    reach: [usize; 2],
    repeat: usize,
    offset: usize,
    zero_point: u8,
    /// From the mean of a window to steps of the output, for each channel.
    factor: Vec<f32>,
    clamp: Clamp,
    /// What each byte becomes, where nothing is averaged and all channels are alike.
    table: Option<[u8; 256]>,
    /// Whether that changes nothing.
    is_copy: bool,
}

impl Run<u8> for ConcatStep {
    fn name(&self) -> &'static str {
        "Concat"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        self.branches.iter().enumerate().for_each(|(at, branch)| branch.run(x.bytes(at), self.pitch, y));
    }
}

impl AveragedBranch {
    /// Writes its channels of `y`, which has `pitch` channels.
    fn run(&self, x: &[u8], pitch: usize, y: &mut [u8]) {
        let [height, width, channels] = self.input;
        for (row, column) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
            let place = |r: usize, c: usize| {
                let pixel = (row * self.repeat + r) * width * self.repeat + column * self.repeat + c;
                pixel * pitch + self.offset
            };
            let first = place(0, 0);
            self.cell(x, row, column, &mut y[first..][..channels]);
            for (r, c) in (0..self.repeat).flat_map(|r| (0..self.repeat).map(move |c| (r, c))).skip(1) {
                y.copy_within(first..first + channels, place(r, c));
            }
        }
    }

    fn byte(&self, mean: f32, factor: f32) -> u8 {
        self.clamp.quantise((mean - f32::from(self.zero_point)) * factor)
    }

    /// All channels of one cell.
    fn cell(&self, x: &[u8], row: usize, column: usize, y: &mut [u8]) {
        let [height, width, channels] = self.input;
        let cell = |r: usize, c: usize| &x[(r * width + c) * channels..][..channels];
        match &self.table {
            _ if self.is_copy => return y.copy_from_slice(cell(row, column)),
            Some(table) => return y.iter_mut().zip(cell(row, column)).for_each(|(y, &x)| *y = table[usize::from(x)]),
            None => {}
        }
        let [down, across] = self.reach;
        let rows = row.saturating_sub(down)..(row + down + 1).min(height);
        let columns = column.saturating_sub(across)..(column + across + 1).min(width);
        let window = Window { rows: [rows.start, rows.end], columns: [columns.start, columns.end], width, outside: 0 };
        let to = Averaging { zero: self.zero_point, clamp: self.clamp };
        pointwise::average(self.isa, to, window, x, &self.factor, y);
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    #[test]
    fn branches_are_averaged_multiplied_and_repeated() {
        let (x, y) = (testing::u8_type(1.0, 0), testing::u8_type(0.5, 1));
        let plain = Branch { x: y, window: [1, 1], gain: vec![], repeat: 1 };
        let averaged = Branch { x, window: [1, 3], gain: vec![2.0], repeat: 1 };
        let repeated = Branch { x, window: [1, 1], gain: vec![], repeat: 2 };
        let concat = Concat { branches: vec![plain, averaged], y };
        let made = testing::bytes(&concat, &[([1, 3, 1], &[7, 8, 9]), ([1, 3, 1], &[3, 6, 0])]);
        // Means of 3 and 6, of all three, and of 6 and 0.
        assert_eq!(made, [7, 19, 8, 13, 9, 13]);
        let made = testing::bytes(&Concat { branches: vec![repeated], y }, &[([1, 2, 1], &[1, 2])]);
        assert_eq!(made, [3, 3, 5, 5, 3, 3, 5, 5]);
    }
}
