//! `x.q ─ DQ ─ [- mean ─ · gain] ─ ReduceSumSquare over channels ─ y`: distances from an expected feature; means and gains
//! are constants, or quantised tensors.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::attributes::{int, ints};
use super::super::graph_view::GraphView;
use super::super::int8::{Isa, pointwise};
use super::super::nhwc::interleave;
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern = Pattern { nodes: &["ReduceSumSquare"], find };

fn find<'a>(view: &GraphView<'a>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    if int(node, "keepdims", 1) != 1 || ints(node, "axes")? != [1] {
        return None;
    }
    let y = node.output[0].clone();
    if let Some((name, x)) = view.quantized(&node.input[0]) {
        return Some(FusedOp::new(view, i, vec![name], y, ReduceSumSquare { x, centre: None }, Vec::new()));
    }
    let step = |tensor: &str, op: &str| -> Option<(usize, &'a NodeProto, &'a String)> {
        let (m, n) = view.only_maker(tensor).filter(|(_, n)| n.op_type == op)?;
        Some((m, n, n.input.get(1)?))
    };
    let (mul, scaled, gain) = step(&node.input[0], "Mul")?;
    let (sub, centred, mean) = step(&scaled.input[0], "Sub")?;
    let (name, x) = view.quantized(&centred.input[0])?;
    let (names, centre) = match (constant_map(view, mean), constant_map(view, gain)) {
        (Some(mean), Some(gain)) => (vec![name], Centre::Constant([mean, gain])),
        _ => {
            let ((mean, mean_scales), (gain, gain_scales)) = (signed_map(view, mean)?, signed_map(view, gain)?);
            (vec![name, mean, gain], Centre::Inputs([mean_scales, gain_scales]))
        }
    };
    Some(FusedOp::new(view, i, names, y, ReduceSumSquare { x, centre: Some(centre) }, vec![mul, sub]))
}

/// A constant map, `[channels, height, width]` with or without leading ones, stored in floats or in bytes with one scale
/// or one for each channel.
fn constant_map(view: &GraphView<'_>, name: &str) -> Option<Vec<f32>> {
    if let Some(floats) = view.floats(name) {
        return (view.constant(name)?.dims.len() >= 3).then_some(floats);
    }
    let dequantize = view.dequantize(name)?;
    let stored = view.constant(&dequantize.input[0])?;
    let values = view.integers(&dequantize.input[0], DataType::Int8)?;
    let scales = view.floats(&dequantize.input[1])?;
    let zeros = dequantize.input.get(2).map_or(Some(vec![0]), |z| view.integers(z, DataType::Int8))?;
    let channels = usize::try_from(*stored.dims.first()?).ok().filter(|c| *c > 0)?;
    let is_ours = stored.dims.len() == 3 && zeros.iter().all(|&z| z == 0) && values.len().is_multiple_of(channels);
    if !is_ours || (scales.len() != 1 && (scales.len() != channels || int(dequantize, "axis", 1) != 0)) {
        return None;
    }
    let per = values.len() / channels;
    let scale = |i: usize| scales[if scales.len() == 1 { 0 } else { i / per }];
    Some(values.iter().enumerate().map(|(i, &v)| f32::from(v as i8) * scale(i)).collect())
}

/// The tensor of signed bytes behind a map of floats, with a zero point of 0, and the scales of its channels.
fn signed_map(view: &GraphView<'_>, name: &str) -> Option<(String, Vec<f32>)> {
    let dequantize = view.dequantize(name).filter(|d| int(d, "axis", 1) == 1)?;
    let stored = &dequantize.input[0];
    let zeros = view.integers(dequantize.input.get(2)?, DataType::Int8)?;
    let is_around_0 = zeros.iter().all(|z| *z == 0) && view.constant(stored).is_none();
    is_around_0.then(|| Some((stored.clone(), view.floats(&dequantize.input[1])?)))?
}

/// The sum of squares over the channels of each pixel, of the numbers themselves or of `(x - mean) * gain`.
#[derive(Debug)]
struct ReduceSumSquare {
    x: QuantizedType,
    centre: Option<Centre>,
}

/// Means and gains.
#[derive(Clone, Debug)]
enum Centre {
    /// `[channels, height, width]` each; `[height, width, channels]` once compiled.
    Constant([Vec<f32>; 2]),
    /// Further inputs of signed bytes, with the scales of each channel.
    Inputs([Vec<f32>; 2]),
}

impl IntOp for ReduceSumSquare {
    fn input(&self, at: usize) -> DType {
        if at == 0 { self.x.dtype() } else { DType::I8 }
    }

    fn output(&self) -> DType {
        DType::F32
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        let [height, width, channels] = x[0].hwc;
        let fits = match &self.centre {
            None => x.len() == 1,
            Some(Centre::Constant(maps)) => x.len() == 1 && maps.iter().all(|v| v.len() == height * width * channels),
            Some(Centre::Inputs(scales)) => {
                x.len() == 3 && x[1..].iter().all(|of| *of == x[0]) && scales.iter().all(|s| s.len() == channels)
            }
        };
        if fits { Ok(TensorShape::image([height, width, 1])) } else { Err("constants of another shape".into()) }
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let [height, width, channels] = x[0];
        let transposed = |v: &Vec<f32>| {
            let mut out = vec![0.0; v.len()];
            interleave(v, height * width, channels, &mut out, |v| v);
            out
        };
        let centre = self.centre.as_ref().map(|centre| match centre {
            Centre::Constant(maps) => Centre::Constant(maps.each_ref().map(transposed)),
            Centre::Inputs(scales) => Centre::Inputs(scales.clone()),
        });
        Ok(Step::floats(ReduceSumSquareStep { isa, channels, x: self.x, centre }))
    }
}

struct ReduceSumSquareStep {
    isa: Isa,
    channels: usize,
    x: QuantizedType,
    centre: Option<Centre>,
}

impl Run<f32> for ReduceSumSquareStep {
    fn name(&self) -> &'static str {
        "ReduceSumSquare"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [f32], memory: &mut Memory<'_>) {
        let (zero_point, scale) = (self.x.zero_point(), self.x.scale());
        let params = [f32::from(zero_point), scale];
        for (pixel, (y, row)) in y.iter_mut().zip(x.bytes(0).chunks_exact(self.channels)).enumerate() {
            let at = pixel * self.channels..(pixel + 1) * self.channels;
            match &self.centre {
                None => pointwise::norm(self.isa, zero_point, scale * scale, row, y),
                Some(Centre::Constant(maps)) => {
                    pointwise::distance(self.isa, params, maps.each_ref().map(|map| &map[at.clone()]), row, y);
                }
                Some(Centre::Inputs(scales)) => {
                    for ((room, input), scales) in memory.rows.iter_mut().zip([1, 2]).zip(scales) {
                        room.clear();
                        // Signed bytes are run 128 higher.
                        let real = |(&byte, scale): (&u8, &f32)| f32::from((byte ^ 0x80) as i8) * scale;
                        room.extend(x.bytes(input)[at.clone()].iter().zip(scales).map(real));
                    }
                    pointwise::distance(self.isa, params, memory.rows.each_ref().map(Vec::as_slice), row, y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    #[test]
    fn distances_are_from_nothing_from_constants_or_from_inputs() {
        let x = testing::u8_type(0.5, 10);
        let image = ([1, 2, 2], &[12, 14, 10, 6][..]);
        let made = |centre, x_of: &[(Hwc, &[u8])]| testing::floats(&ReduceSumSquare { x, centre }, x_of);
        assert_eq!(made(None, &[image]), [5.0, 4.0]);
        // Maps are `[channels, height, width]`: the first channel's means are 0 and 1.
        let constant = Centre::Constant([vec![0.0, 1.0, 2.0, -2.0], vec![1.0, 2.0, 1.0, 1.0]]);
        assert_eq!(made(Some(constant), &[image]), [1.0, 4.0]);
        // As inputs, signed bytes 128 higher: means of -1 and 1, gains of 2 and 1.
        let (mean, gain) = (&[126, 130, 126, 130][..], &[130, 129, 130, 129][..]);
        let inputs = Centre::Inputs([vec![0.5, 0.5], vec![1.0, 1.0]]);
        assert_eq!(made(Some(inputs), &[image, ([1, 2, 2], mean), ([1, 2, 2], gain)]), [17.0, 13.0]);
    }

    #[test]
    fn maps_of_another_shape_are_refused() {
        let centre = Some(Centre::Constant([vec![0.0; 3], vec![0.0; 3]]));
        let op = ReduceSumSquare { x: testing::u8_type(0.5, 10), centre };
        assert!(op.infer(&[TensorShape::image([1, 2, 2])]).is_err());
    }
}
