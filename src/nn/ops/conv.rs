//! Convolutions of quantised tensors with constant weights.
//!
//! ```text
//! x.q ─ DQ ─ Conv(DQ(w), b) ─ [Relu | Clip] ─ Q ─ y.q      quantised
//! x.q ─ DQ ─ Conv(DQ(w), b) ─ y                            in floats
//! x.q ─ DQ ─ Conv(DQ(w), b) ─ ReduceMax over channels ─ y  the maximum, without the matrix that it is taken of
//! ```
//!
//! Weights are signed or unsigned bytes around any zero point.

use tract_onnx::pb::tensor_proto::DataType;

use super::super::attributes::{int, ints, pads, pair, string};
use super::super::graph_view::{Closing, GraphView};
use super::super::int8::{self, ConvShape, Isa, Out};
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern = Pattern { nodes: &["Conv"], find };

fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let (name, x) = view.quantized(node.input.first()?)?;
    let Filters { dims, weights, scale } = Filters::of(view, node.input.get(1)?, 0)?;
    let dims: [usize; 4] = dims.try_into().ok()?;
    if string(node, "auto_pad").is_some() {
        return None;
    }
    let Tail { y, bias, epilogue, nodes } = Tail::of(view, i, x, &scale)?;
    let op = Conv {
        x,
        dims,
        parts: int8::parts(&weights),
        bias,
        stride: pair(node, "strides", 1)?,
        pads: pads(node)?,
        dilation: pair(node, "dilations", 1)?,
        groups: usize::try_from(int(node, "group", 1)).ok()?,
        epilogue,
        is_row: false,
    };
    Some(FusedOp::new(view, i, vec![name], y, op, nodes))
}

/// Constant weights, less their zero points.
pub(super) struct Filters {
    pub(super) dims: Vec<usize>,
    pub(super) weights: Vec<i16>,
    /// For each output.
    pub(super) scale: Vec<f32>,
}

impl Filters {
    /// Weights whose outputs lie along `axis`.
    pub(super) fn of(view: &GraphView<'_>, tensor: &str, axis: usize) -> Option<Self> {
        let w = view.dequantize(tensor)?;
        let stored = view.constant(&w.input[0])?;
        let dims: Vec<usize> = stored.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        let outputs = *dims.get(axis).filter(|&&n| n > 0)?;
        let mut scale = view.floats(&w.input[1])?;
        let along = int(w, "axis", 1);
        let along = if along < 0 { along + dims.len() as i64 } else { along };
        if scale.len() == 1 {
            scale = vec![scale[0]; outputs];
        } else if scale.len() != outputs || along != axis as i64 {
            return None;
        }
        let mut weights = numbers(view, &w.input[0])?;
        if weights.len() != dims.iter().product::<usize>() {
            return None;
        }
        if let Some(zeros) = w.input.get(2).filter(|z| !z.is_empty()) {
            let zeros = numbers(view, zeros).filter(|z| z.len() == 1 || z.len() == outputs)?;
            // Weights from one output to the next one.
            let inner: usize = dims[axis + 1..].iter().product();
            let zero = |i: usize| zeros[if zeros.len() == 1 { 0 } else { i / inner % outputs }];
            weights.iter_mut().enumerate().for_each(|(i, w)| *w -= zero(i));
        }
        Some(Self { dims, weights, scale })
    }
}

/// The numbers of a constant of signed or unsigned bytes.
fn numbers(view: &GraphView<'_>, name: &str) -> Option<Vec<i16>> {
    let signed = || Some(view.integers(name, DataType::Int8)?.iter().map(|&v| i16::from(v as i8)).collect());
    let unsigned = || Some(view.integers(name, DataType::Uint8)?.iter().map(|&v| i16::from(v)).collect());
    signed().or_else(unsigned)
}

/// What follows the products: bias, activation and quantisation, or the maximum over channels.
pub(super) struct Tail {
    pub(super) y: String,
    /// In accumulator steps.
    pub(super) bias: Vec<i32>,
    pub(super) epilogue: Epilogue,
    /// The nodes that it stands for.
    pub(super) nodes: Vec<usize>,
}

impl Tail {
    /// That of node `i`, which reads `x` and has weights of these scales.
    pub(super) fn of(view: &GraphView<'_>, i: usize, x: QuantizedType, scale: &[f32]) -> Option<Self> {
        let node = &view.nodes[i];
        let outputs = scale.len();
        let (bias, real_bias) = match node.input.get(2).filter(|b| !b.is_empty()) {
            None => (vec![0; outputs], vec![0.0; outputs]),
            Some(b) => bias(view, b, outputs, |c| x.scale() * scale[c])?,
        };
        let real: Vec<f32> = scale.iter().map(|s| x.scale() * s).collect();
        let out = &node.output[0];
        if let Some(Closing { nodes, y, quantized, low, high }) = view.closing(out) {
            let scale = real.iter().map(|s| s / quantized.scale()).collect();
            return Some(Self { y, bias, epilogue: Epilogue::Quantize { scale, y: quantized, low, high }, nodes });
        }
        // The accumulators' own bias would be rounded.
        let bias = vec![0; outputs];
        if let Some(max) = reduce_max(view, out) {
            let epilogue = Epilogue::ReduceMax { scale: real, bias: real_bias };
            return Some(Self { y: view.nodes[max].output[0].clone(), bias, epilogue, nodes: vec![max] });
        }
        let epilogue = Epilogue::Dequantize { scale: real, bias: real_bias };
        Some(Self { y: out.clone(), bias, epilogue, nodes: Vec::new() })
    }
}

/// A bias as accumulator steps and as floats. One that is written in floats is rounded to steps, by half of one at most.
fn bias(
    view: &GraphView<'_>,
    name: &str,
    outputs: usize,
    scale: impl Fn(usize) -> f32,
) -> Option<(Vec<i32>, Vec<f32>)> {
    let (steps, floats): (Vec<i32>, Vec<f32>) = if let Some(b) = view.dequantize(name) {
        let scales = view.floats(&b.input[1])?;
        let is_accumulators = |(c, s): (usize, &f32)| (s / scale(c) - 1.0).abs() < 1e-5;
        if scales.len() != outputs || !scales.iter().enumerate().all(is_accumulators) {
            return None;
        }
        let stored = view.integers(&b.input[0], DataType::Int32)?;
        let steps: Vec<i32> = stored.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        let floats = steps.iter().zip(&scales).map(|(&b, s)| b as f32 * s).collect();
        (steps, floats)
    } else {
        let floats = view.floats(name)?;
        let steps = floats.iter().enumerate().map(|(c, b)| (b / scale(c)).round_ties_even() as i32).collect();
        (steps, floats)
    };
    (steps.len() == outputs).then_some((steps, floats))
}

/// The maximum over channels that alone reads `tensor`.
fn reduce_max(view: &GraphView<'_>, tensor: &str) -> Option<usize> {
    let (reader, node) = view.only_reader(tensor)?;
    let keeps = int(node, "keepdims", 1) == 1;
    (node.op_type == "ReduceMax" && keeps && ints(node, "axes")? == [1]).then_some(reader)
}

/// What accumulators become.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Epilogue {
    /// Bytes: `clamp(rint(acc * scale) + zero_point, low, high)`.
    Quantize { scale: Vec<f32>, y: QuantizedType, low: u8, high: u8 },
    /// `acc * scale + bias`.
    Dequantize { scale: Vec<f32>, bias: Vec<f32> },
    /// The maximum of these over all channels.
    ReduceMax { scale: Vec<f32>, bias: Vec<f32> },
}

/// A convolution on its integers.
#[derive(Debug)]
pub(super) struct Conv {
    pub(super) x: QuantizedType,
    /// `[outputs, channels / groups, height, width]`.
    pub(super) dims: [usize; 4],
    /// Signed bytes whose sums are the weights less their zero points: mostly one part ([`int8::parts`]).
    pub(super) parts: Vec<Vec<i8>>,
    pub(super) bias: Vec<i32>,
    pub(super) stride: [usize; 2],
    pub(super) pads: [usize; 4],
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
    pub(super) epilogue: Epilogue,
    /// Whether it is the product of one row with a matrix: input and output are `[1, n]`.
    pub(super) is_row: bool,
}

impl Conv {
    fn shape(&self, input: Hwc) -> ConvShape {
        let [outputs, _, height, width] = self.dims;
        ConvShape {
            input,
            outputs,
            kernel: [height, width],
            stride: self.stride,
            pads: self.pads,
            dilation: self.dilation,
            groups: self.groups,
        }
    }
}

impl IntOp for Conv {
    fn input(&self, _at: usize) -> DType {
        self.x.dtype()
    }

    fn output(&self) -> DType {
        match &self.epilogue {
            Epilogue::Quantize { y, .. } => y.dtype(),
            Epilogue::Dequantize { .. } | Epilogue::ReduceMax { .. } => DType::F32,
        }
    }

    fn takes_rows(&self) -> bool {
        self.is_row
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        let shape = self.shape(x[0].hwc);
        shape.validate().map_err(|e| e.to_string())?;
        let channels = self.dims[1].saturating_mul(self.groups);
        if shape.input[2] != channels {
            return Err(format!("weights are for {channels} channels"));
        }
        if self.is_row && shape.input[..2] != [1, 1] {
            return Err("a picture where a row should be".into());
        }
        let [height, width, channels] = shape.output();
        let channels = if matches!(self.epilogue, Epilogue::ReduceMax { .. }) { 1 } else { channels };
        Ok(TensorShape { hwc: [height, width, channels], is_row: self.is_row })
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let parts: Vec<&[i8]> = self.parts.iter().map(Vec::as_slice).collect();
        let conv = int8::Conv::of_parts(self.shape(x[0]), &parts, &self.bias, self.x.zero_point(), isa)
            .map_err(|e| e.to_string())?;
        let negated = |v: &[f32]| v.iter().map(|v| -v).collect::<Vec<f32>>();
        Ok(match &self.epilogue {
            Epilogue::Quantize { scale, y, low, high } => Step::bytes(QuantizedConv {
                conv,
                scale: scale.clone(),
                zero_point: y.zero_point(),
                low: *low,
                high: *high,
            }),
            Epilogue::Dequantize { scale, bias } => {
                Step::floats(FloatConv { conv, scale: scale.clone(), bias: bias.clone() })
            }
            Epilogue::ReduceMax { scale, bias } => {
                Step::floats(MaxConv { conv, scale: negated(scale), bias: negated(bias) })
            }
        })
    }
}

struct QuantizedConv {
    conv: int8::Conv,
    scale: Vec<f32>,
    zero_point: u8,
    low: u8,
    high: u8,
}

impl Run<u8> for QuantizedConv {
    fn name(&self) -> &'static str {
        "Conv"
    }

    fn conv(&self) -> Option<&int8::Conv> {
        Some(&self.conv)
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], memory: &mut Memory<'_>) {
        let Self { conv, scale, zero_point: zero, low, high } = self;
        let [zero, low, high] = [*zero, *low, *high];
        let out = Out::Quantised { y, pitch: scale.len(), offset: 0, scale, zero, low, high };
        conv.run(x.bytes(0), out, memory.scratches);
    }
}

struct FloatConv {
    conv: int8::Conv,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Run<f32> for FloatConv {
    fn name(&self) -> &'static str {
        "Conv"
    }

    fn conv(&self) -> Option<&int8::Conv> {
        Some(&self.conv)
    }

    fn run(&self, x: Inputs<'_>, y: &mut [f32], memory: &mut Memory<'_>) {
        let Self { conv, scale, bias } = self;
        conv.run(x.bytes(0), Out::Real { y, scale, bias }, memory.scratches);
    }
}

/// The maximum as the minimum of what is negated, the same bits.
struct MaxConv {
    conv: int8::Conv,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Run<f32> for MaxConv {
    fn name(&self) -> &'static str {
        "Conv to its greatest"
    }

    fn conv(&self) -> Option<&int8::Conv> {
        Some(&self.conv)
    }

    fn run(&self, x: Inputs<'_>, y: &mut [f32], memory: &mut Memory<'_>) {
        let Self { conv, scale, bias } = self;
        conv.run(x.bytes(0), Out::Min { y: &mut *y, scale, bias }, memory.scratches);
        y.iter_mut().for_each(|v| *v = -*v);
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    /// Two outputs of two channels, 1x1, with an epilogue.
    fn conv(bias: Vec<i32>, epilogue: Epilogue) -> Conv {
        Conv {
            x: testing::u8_type(0.5, 10),
            dims: [2, 2, 1, 1],
            parts: vec![vec![1, 2, -3, 4]],
            bias,
            stride: [1; 2],
            pads: [0; 4],
            dilation: [1; 2],
            groups: 1,
            epilogue,
            is_row: false,
        }
    }

    #[test]
    fn accumulators_become_bytes_floats_or_their_maximum() {
        // Sums of 5 and 5, of 0 and -10.
        let image = [([1, 2, 2], &[11, 12, 12, 9][..])];
        let y = testing::u8_type(1.0, 100);
        let quantize = Epilogue::Quantize { scale: vec![0.5, 2.0], y, low: 90, high: 255 };
        assert_eq!(testing::bytes(&conv(vec![0, -1], quantize), &image), [102, 108, 100, 90]);
        let [scale, bias] = [vec![0.5, 2.0], vec![1.0, -1.0]];
        let dequantize = Epilogue::Dequantize { scale: scale.clone(), bias: bias.clone() };
        assert_eq!(testing::floats(&conv(vec![0; 2], dequantize), &image), [3.5, 9.0, 1.0, -21.0]);
        assert_eq!(testing::floats(&conv(vec![0; 2], Epilogue::ReduceMax { scale, bias }), &image), [9.0, 1.0]);
    }

    #[test]
    fn weights_for_other_channels_are_refused() {
        let conv = conv(vec![0; 2], Epilogue::Dequantize { scale: vec![1.0; 2], bias: vec![0.0; 2] });
        let refused = conv.infer(&[TensorShape::image([2, 2, 3])]);
        assert_eq!(refused, Err("weights are for 2 channels".into()));
    }
}
