//! Windows of very many taps: a plain loop.

use super::epilogue::{Sink, finish};
use super::rows::Rows;
use super::shape::ConvShape;

/// Outputs that are finished together.
pub(super) const LANES: usize = 8;

/// A convolution as it is given.
pub(super) struct Filters<'a> {
    pub shape: &'a ConvShape,
    /// In ONNX order.
    pub weights: &'a [i16],
    /// Padded to whole vectors, with what is left of the zero point.
    pub bias: &'a [i32],
}

impl Filters<'_> {
    /// Output pixels from `[y, x]` on; `acc` has room for the accumulators of one pixel.
    pub(super) fn strip(
        &self,
        rows: &Rows<'_>,
        [y, x]: [usize; 2],
        pixels: usize,
        acc: &mut [i32],
        sink: &mut Sink<'_>,
    ) {
        let Self { shape, weights, bias } = self;
        let [height, width] = shape.kernel;
        let (channels, inputs, outputs) = (shape.input[2], shape.input[2] / shape.groups, shape.outputs / shape.groups);
        for pixel in 0..pixels {
            let acc = &mut acc[..bias.len()];
            acc.copy_from_slice(bias);
            for ky in 0..height {
                let row = rows.row(y, ky);
                for kx in 0..width {
                    let tap = &row[((x + pixel) * shape.stride[1] + kx * shape.dilation[1]) * channels..][..channels];
                    for (o, acc) in acc[..shape.outputs].iter_mut().enumerate() {
                        let x = &tap[(o / outputs) * inputs..][..inputs];
                        let weights = weights[o * inputs * height * width + ky * width + kx..].iter();
                        for (x, w) in x.iter().zip(weights.step_by(height * width)) {
                            *acc = acc.wrapping_add(i32::from(*x) * i32::from(*w));
                        }
                    }
                }
            }
            for (i, acc) in acc.as_chunks::<LANES>().0.iter().enumerate() {
                finish(&[*acc], sink, pixel, i * LANES, shape.outputs);
            }
        }
    }
}
