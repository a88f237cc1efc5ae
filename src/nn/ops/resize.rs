//! `x.q ─ DQ ─ Resize ─ Q ─ y.q`, or `x.q ─ Resize ─ y.q`, by whole factors with linear interpolation.
//!
//! A Resize that repeats cells is a [`concat`](super::concat) of one tensor.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::attributes::{int, ints, string};
use super::super::check::ELEMENTS_MAX;
use super::super::graph_view::GraphView;
use super::super::int8::Isa;
use super::super::int8::pointwise::{self, Blending};
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern =
    Pattern { nodes: &["Resize"], find: |view, i| find(view, i, |view, node, resized| linear(view, node, &resized)) };

/// The most that a side is made larger by.
const FACTOR_MAX: usize = 64;

/// What a Resize reads and makes.
pub(super) struct Resized {
    /// The name of what it reads.
    pub(super) name: String,
    pub(super) x: QuantizedType,
    pub(super) y: QuantizedType,
    /// Whether it reads and makes bytes themselves.
    pub(super) is_of_bytes: bool,
}

/// The operator that `op` makes of a Resize of quantised numbers, or else of one of bytes.
pub(super) fn find<O: IntOp + 'static>(
    view: &GraphView<'_>,
    i: usize,
    op: impl Fn(&GraphView<'_>, &NodeProto, Resized) -> Option<O>,
) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let of_floats = || {
        let (name, x) = view.quantized(node.input.first()?)?;
        let closing = view.closing(&node.output[0]).filter(|closing| closing.is_open())?;
        let resized = Resized { name: name.clone(), x, y: closing.quantized, is_of_bytes: false };
        Some(FusedOp::new(view, i, vec![name], closing.y, op(view, node, resized)?, closing.nodes))
    };
    let of_bytes = || {
        let (name, x) = view.quantized_bytes(node.input.first()?)?;
        let resized = Resized { name: name.clone(), x, y: x, is_of_bytes: true };
        Some(FusedOp::new(view, i, vec![name], node.output[0].clone(), op(view, node, resized)?, Vec::new()))
    };
    of_floats().or_else(of_bytes)
}

fn linear(view: &GraphView<'_>, node: &NodeProto, resized: &Resized) -> Option<Resize> {
    let &Resized { x, y, is_of_bytes: truncates, .. } = resized;
    let (factor, coordinates) = (factors(view, node, &resized.name)?, coordinates(node)?);
    is_linear(node).then_some(Resize { x, y, factor, coordinates, truncates })
}

fn is_linear(node: &NodeProto) -> bool {
    string(node, "mode") == Some(b"linear")
}

/// How often a nearest-neighbour resize repeats each cell of `x` along both sides.
pub(super) fn repeats(view: &GraphView<'_>, node: &NodeProto, x: &str) -> Option<usize> {
    let [vertical, horizontal] = factors(view, node, x)?;
    (!is_linear(node) && repeats_cells(node)? && vertical == horizontal).then_some(vertical)
}

/// The whole factors by which the sides of `x` become larger, from scales or from sizes.
fn factors(view: &GraphView<'_>, node: &NodeProto, x: &str) -> Option<[usize; 2]> {
    let given = |at: usize| node.input.get(at).filter(|n| !n.is_empty());
    let is_whole = |f: f64| f.fract() == 0.0 && (1.0..=FACTOR_MAX as f64).contains(&f);
    let all: Vec<f64> = match (given(2), given(3)) {
        (Some(scales), None) => view.floats(scales)?.into_iter().map(f64::from).collect(),
        (None, Some(sizes)) => {
            let sizes = view.integers(sizes, DataType::Int64)?;
            let sizes = sizes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64);
            let from = view.dims(x).filter(|x| x.len() == 4)?;
            sizes.zip(from).map(|(to, &from)| to / from as f64).collect()
        }
        _ => return None,
    };
    match all[..] {
        [1.0, 1.0, y, x] if is_whole(y) && is_whole(x) => Some([y as usize, x as usize]),
        _ => None,
    }
}

/// Where a cell of the larger image lies in the smaller one, along one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coordinates {
    HalfPixel,
    /// As `HalfPixel`, and 0 where the larger side is one cell.
    PytorchHalfPixel,
    Asymmetric,
    AlignCorners,
}

/// The coordinates of a node of operator set 11 or later that asks for nothing else.
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

/// Whether a resize by whole factors gives every cell of the smaller image the same number of neighbouring cells.
fn repeats_cells(node: &NodeProto) -> Option<bool> {
    let nearest = string(node, "nearest_mode").unwrap_or(b"round_prefer_floor");
    let is_nearest = string(node, "mode").is_none_or(|m| m == b"nearest");
    Some(match coordinates(node)? {
        Coordinates::Asymmetric => is_nearest && nearest == b"floor",
        // Centres of cells lie at least half a cell of the larger image away from where rounding changes.
        Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => is_nearest && nearest.starts_with(b"round_prefer"),
        Coordinates::AlignCorners => false,
    })
}

/// Bilinear, with the sequence of f32 operations that onnxruntime has, so that bytes which are truncated are its bytes.
#[derive(Debug)]
struct Resize {
    x: QuantizedType,
    y: QuantizedType,
    /// Vertical and horizontal.
    factor: [usize; 2],
    coordinates: Coordinates,
    /// Whether bytes themselves are blended and the fraction cut off, as onnxruntime does where nothing dequantises them;
    /// rounded half to even otherwise.
    truncates: bool,
}

impl IntOp for Resize {
    fn input(&self, _at: usize) -> DType {
        self.x.dtype()
    }

    fn output(&self) -> DType {
        self.y.dtype()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        let [height, width, channels] = x[0].hwc;
        let larger = || Some([height.checked_mul(self.factor[0])?, width.checked_mul(self.factor[1])?, channels]);
        let count = |hwc: &Hwc| hwc.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let is_ours = |hwc: &Hwc| count(hwc).is_some_and(|n| (1..=ELEMENTS_MAX).contains(&n));
        larger().filter(is_ours).map(TensorShape::image).ok_or_else(|| "a picture too large, or of nothing".into())
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let taps = |axis: usize| {
            let (size, factor) = (x[0][axis], self.factor[axis]);
            (0..size * factor).map(|at| tap(at, size, factor, self.coordinates)).collect()
        };
        let signed = if self.x.is_signed { 128 } else { 0 };
        let to = match self.truncates {
            true => Blending { from: signed, factor: 1.0, truncates: true, clamp: self.x.clamp().around(signed) },
            false => {
                let factor = self.x.scale() / self.y.scale();
                Blending { from: self.x.zero_point(), factor, truncates: false, clamp: self.y.clamp() }
            }
        };
        Ok(Step::bytes(ResizeStep { isa, input: x[0], to, rows: taps(0), columns: taps(1) }))
    }
}

struct ResizeStep {
    isa: Isa,
    input: Hwc,
    to: Blending,
    rows: Vec<Tap>,
    columns: Vec<Tap>,
}

/// Two neighbours along a side with their weights.
#[derive(Clone, Copy)]
struct Tap {
    at: [usize; 2],
    weights: [f32; 2],
}

impl Run<u8> for ResizeStep {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        let x = x.bytes(0);
        let [_, width, channels] = self.input;
        let cells = self.rows.iter().flat_map(|row| self.columns.iter().map(move |column| (row, column)));
        for (y, (row, column)) in y.chunks_exact_mut(channels).zip(cells) {
            let cell = |r: usize, c: usize| &x[(row.at[r] * width + column.at[c]) * channels..][..channels];
            let four = [cell(0, 0), cell(0, 1), cell(1, 0), cell(1, 1)];
            let weight = |r: usize, c: usize| column.weights[c] * row.weights[r];
            let weights = [weight(0, 0), weight(0, 1), weight(1, 0), weight(1, 1)];
            pointwise::blend(self.isa, self.to, four, weights, y);
        }
    }
}

/// The neighbours of cell `at` along a side of `size` cells that becomes `factor` times as long.
fn tap(at: usize, size: usize, factor: usize, coordinates: Coordinates) -> Tap {
    let (x, scale, larger) = (at as f32, factor as f32, size * factor);
    let centre = (x + 0.5) / scale - 0.5;
    let real = match coordinates {
        Coordinates::HalfPixel => centre,
        Coordinates::PytorchHalfPixel if larger > 1 => centre,
        Coordinates::AlignCorners if larger > 1 => x * (size - 1) as f32 / (larger - 1) as f32,
        Coordinates::PytorchHalfPixel | Coordinates::AlignCorners => 0.0,
        Coordinates::Asymmetric => x / scale,
    };
    let real = real.clamp(0.0, (size - 1) as f32);
    let first = (real as usize).min(size - 1);
    let second = (first + 1).min(size - 1);
    let weights = match first == second {
        true => [0.5, 0.5],
        false => [(real - second as f32).abs(), (real - first as f32).abs()],
    };
    Tap { at: [first, second], weights }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    fn resized(truncates: bool) -> Vec<u8> {
        let x = testing::u8_type(1.0, 0);
        let resize = Resize { x, y: x, factor: [1, 4], coordinates: Coordinates::Asymmetric, truncates };
        testing::bytes(&resize, &[([1, 2, 1], &[0, 10])])
    }

    #[test]
    fn fractions_are_cut_off_bytes_and_rounded_half_to_even_otherwise() {
        assert_eq!(resized(true), [0, 2, 5, 7, 10, 10, 10, 10]);
        assert_eq!(resized(false), [0, 2, 5, 8, 10, 10, 10, 10]);
    }
}
