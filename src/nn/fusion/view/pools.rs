//! Windows over stored tensors, and pictures made larger.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::{
    Branch, Coordinates, Fused, FusedAverage, FusedMean, FusedMoment, FusedPool, FusedResize, FusedStack, Grid, Op,
};
use super::View;
use super::attributes::{int, ints, pads, pair, string};

/// The most that a side is made larger by.
const FACTOR_MAX: usize = 64;

impl View<'_> {
    pub(super) fn max_pool(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, grid) = self.stored(node.input.first()?)?;
        let closing = self.closing(&node.output[0])?;
        // Quantising rounds nothing where the grid stays.
        if closing.grid != grid || !closing.is_open() {
            return None;
        }
        Some(self.made(i, vec![x], closing.y, pool(node, grid)?, closing.nodes))
    }

    pub(super) fn max_pool_of_bytes(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, grid) = self.stored_bytes(node.input.first()?)?;
        Some(self.made(i, vec![x], node.output[0].clone(), pool(node, grid)?, Vec::new()))
    }

    /// A mean of each window; one that alone is read by what may take it along is left to that.
    pub(super) fn average_pool(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, x_grid) = self.stored(node.input.first()?)?;
        let closing = self.closing(&node.output[0])?;
        if !closing.is_open() || !is_plain(node) || pair(node, "dilations", 1)? != [1, 1] {
            return None;
        }
        let op = Op::Average(FusedAverage {
            x: x_grid,
            y: closing.grid,
            kernel: pair(node, "kernel_shape", 0)?,
            stride: pair(node, "strides", 1)?,
            pads: pads(node)?,
            counts_pads: int(node, "count_include_pad", 0) != 0,
        });
        Some(self.made(i, vec![x], closing.y, op, closing.nodes))
    }

    pub(super) fn resize(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, grid) = self.stored(node.input.first()?)?;
        let closing = self.closing(&node.output[0])?;
        if !closing.is_open() {
            return None;
        }
        let op = self.resized(node, &x, [grid, closing.grid], false)?;
        Some(self.made(i, vec![x], closing.y, op, closing.nodes))
    }

    pub(super) fn resize_of_bytes(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, grid) = self.stored_bytes(node.input.first()?)?;
        let op = self.resized(node, &x, [grid, grid], true)?;
        Some(self.made(i, vec![x], node.output[0].clone(), op, Vec::new()))
    }

    fn resized(&self, node: &NodeProto, stored: &str, [x, y]: [Grid; 2], cuts: bool) -> Option<Op> {
        let factor = self.factors(node, stored)?;
        let coordinates = coordinates(node)?;
        if string(node, "mode") == Some(b"linear") {
            return Some(Op::Resize(FusedResize { x, y, factor, coordinates, cuts }));
        }
        let [repeat, across] = factor;
        let branch = Branch { x, window: [1, 1], gain: Vec::new(), repeat };
        (repeats_cells(node)? && repeat == across).then(|| Op::Stack(FusedStack { branches: vec![branch], y }))
    }

    /// How often a nearest-neighbour resize repeats each cell along both sides.
    pub(super) fn repeats(&self, node: &NodeProto) -> Option<usize> {
        let [y, x] = self.factors(node, node.input.first()?)?;
        (repeats_cells(node)? && y == x).then_some(y)
    }

    /// The whole factors by which the sides of `x` become larger, from scales or from sizes.
    fn factors(&self, node: &NodeProto, x: &str) -> Option<[usize; 2]> {
        let given = |at: usize| node.input.get(at).filter(|n| !n.is_empty());
        let is_whole = |f: f64| f.fract() == 0.0 && (1.0..=FACTOR_MAX as f64).contains(&f);
        let all: Vec<f64> = match (given(2), given(3)) {
            (Some(scales), None) => self.floats(scales)?.into_iter().map(f64::from).collect(),
            (None, Some(sizes)) => {
                let sizes = self.bytes(sizes, DataType::Int64)?;
                let sizes = sizes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64);
                let from = self.shapes.get(x).filter(|x| x.len() == 4)?;
                sizes.zip(from).map(|(to, &from)| to / from as f64).collect()
            }
            _ => return None,
        };
        match all[..] {
            [1.0, 1.0, y, x] if is_whole(y) && is_whole(x) => Some([y as usize, x as usize]),
            _ => None,
        }
    }

    /// The mean over the whole picture.
    pub(super) fn mean(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let is_row = is_mean_to_row(node)?;
        let (x, grid) = self.stored(node.input.first()?)?;
        let closing = self.closing(&node.output[0])?;
        if !closing.is_open() {
            return None;
        }
        let op = Op::Mean(FusedMean { x: grid, y: closing.grid, is_row });
        Some(self.made(i, vec![x], closing.y, op, closing.nodes))
    }

    /// The mean over the whole picture, or that of squares, whose floats are read.
    pub(super) fn moment(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let is_row = is_mean_to_row(node)?;
        let (of, y) = (node.input.first()?, node.output[0].clone());
        let made = |x, grid, is_squared, nodes| {
            Some(self.made(i, vec![x], y, Op::Moment(FusedMoment { x: grid, is_squared, is_row }), nodes))
        };
        if let Some((x, grid)) = self.stored(of) {
            return made(x, grid, false, Vec::new());
        }
        let m = *self.maker.get(of.as_str()).filter(|_| self.is_alone(of))?;
        let [a, b] = &self.nodes[m].input[..] else { return None };
        let (x, grid) = self.stored(a).filter(|_| self.nodes[m].op_type == "Mul" && a == b)?;
        made(x, grid, true, vec![m])
    }
}

/// Whether what a node takes the mean of over the picture becomes a row; `None` where it does something else.
fn is_mean_to_row(node: &NodeProto) -> Option<bool> {
    match node.op_type.as_str() {
        "GlobalAveragePool" => Some(false),
        _ => matches!(ints(node, "axes")?, [2, 3] | [-2, -1]).then(|| int(node, "keepdims", 1) == 0),
    }
}

/// Whether the sizes of a window are all that counts.
fn is_plain(node: &NodeProto) -> bool {
    string(node, "auto_pad").is_none() && int(node, "ceil_mode", 0) == 0 && node.output.len() == 1
}

fn pool(node: &NodeProto, grid: Grid) -> Option<Op> {
    if !is_plain(node) || pair(node, "dilations", 1)? != [1, 1] {
        return None;
    }
    let [kernel, stride] = [pair(node, "kernel_shape", 0)?, pair(node, "strides", 1)?];
    Some(Op::MaxPool(FusedPool { grid, kernel, stride, pads: pads(node)? }))
}

/// What a node says of coordinates, if it says it as operator sets from 11 on do and nothing else with it.
fn coordinates(node: &NodeProto) -> Option<Coordinates> {
    if node.input.len() < 3 || int(node, "antialias", 0) != 0 || int(node, "exclude_outside", 0) != 0 {
        return None;
    }
    if ints(node, "axes").is_some() || string(node, "keep_aspect_ratio_policy").is_some_and(|p| p != b"stretch") {
        return None;
    }
    match string(node, "coordinate_transformation_mode").unwrap_or(b"half_pixel") {
        b"half_pixel" => Some(Coordinates::HalfPixel),
        b"pytorch_half_pixel" => Some(Coordinates::PytorchHalfPixel),
        b"asymmetric" => Some(Coordinates::Asymmetric),
        b"align_corners" => Some(Coordinates::AlignCorners),
        _ => None,
    }
}

/// Whether a resize by whole factors gives every cell of the smaller picture the same number of neighbouring cells.
fn repeats_cells(node: &NodeProto) -> Option<bool> {
    let nearest = string(node, "nearest_mode").unwrap_or(b"round_prefer_floor");
    let is_nearest = string(node, "mode").is_none_or(|m| m == b"nearest");
    Some(match coordinates(node)? {
        Coordinates::Asymmetric => is_nearest && nearest == b"floor",
        // Centres of cells lie half a cell of the larger picture away from where rounding changes, or further.
        Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => is_nearest && nearest.starts_with(b"round_prefer"),
        Coordinates::AlignCorners => false,
    })
}
