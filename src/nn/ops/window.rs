//! Windows that slide over an image.

use tract_onnx::pb::NodeProto;

use super::super::attributes::{int, pads, pair, string};
use super::super::tensor::Hwc;

/// A window's sizes and steps, vertical and horizontal.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlidingWindow {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) pads: [usize; 4],
}

impl SlidingWindow {
    /// That of a pooling node, unless it says more than these sizes.
    pub(super) fn of(node: &NodeProto) -> Option<Self> {
        let is_plain = string(node, "auto_pad").is_none() && int(node, "ceil_mode", 0) == 0 && node.output.len() == 1;
        if !is_plain || pair(node, "dilations", 1)? != [1, 1] {
            return None;
        }
        let [kernel, stride] = [pair(node, "kernel_shape", 0)?, pair(node, "strides", 1)?];
        Some(Self { kernel, stride, pads: pads(node)? })
    }

    /// The shape of what it makes; `None` where it does not fit, or sees nothing but padding.
    pub(super) fn output(&self, [height, width, channels]: Hwc) -> Option<Hwc> {
        let [top, left, bottom, right] = self.pads;
        let along = |size: usize, before: usize, after: usize, axis: usize| {
            let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
            let room = size.checked_add(before)?.checked_add(after)?.checked_sub(kernel)?;
            (before < kernel && after < kernel).then(|| room.checked_div(stride))?.map(|n| n + 1)
        };
        Some([along(height, top, bottom, 0)?, along(width, left, right, 1)?, channels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_sees_only_padding_makes_nothing() {
        let window =
            |kernel, stride, pad: usize| SlidingWindow { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4] };
        assert_eq!(window(3, 2, 1).output([7, 8, 5]), Some([4, 4, 5]));
        for wrong in [window(3, 1, 3), window(0, 1, 0), window(2, 0, 0), window(9, 1, 0), window(3, 1, usize::MAX)] {
            assert_eq!(wrong.output([7, 8, 5]), None, "{wrong:?}");
        }
    }
}
