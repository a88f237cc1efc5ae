//! Tensors of a fused subgraph: their shape, what they hold, and how their bytes are read as numbers.

use super::int8::Clamp;
use super::onnx::QuantParams;

/// Height, width and channels.
pub(super) type Hwc = [usize; 3];

/// What a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DType {
    U8,
    I8,
    F32,
}

impl DType {
    /// What turns its bytes into the unsigned ones that are run, and back again, by exclusive or.
    pub(super) fn flip(self) -> u8 {
        if self == Self::I8 { 0x80 } else { 0 }
    }
}

/// How the bytes of a tensor are read as numbers. They are run as unsigned bytes: signed ones are run 128 higher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct QuantizedType {
    /// The zero point is an unsigned byte here, that of signed bytes 128 higher.
    pub(super) params: QuantParams,
    pub(super) is_signed: bool,
}

impl QuantizedType {
    pub(super) fn dtype(self) -> DType {
        if self.is_signed { DType::I8 } else { DType::U8 }
    }

    pub(super) fn scale(self) -> f32 {
        self.params.scale
    }

    pub(super) fn zero_point(self) -> u8 {
        self.params.zero_point
    }

    /// The byte that stores `value`, as QuantizeLinear has it; `None` for what is not a number.
    pub(super) fn quantize(self, value: f32) -> Option<u8> {
        let steps = (value / self.scale()).round_ties_even() + f32::from(self.zero_point());
        (!steps.is_nan()).then(|| steps.clamp(0.0, 255.0) as u8)
    }

    /// The whole range of bytes around its zero point.
    pub(super) fn clamp(self) -> Clamp {
        Clamp { zero: self.zero_point(), low: u8::MIN, high: u8::MAX }
    }
}

/// One image, `[1, C, H, W]`, or one row, `[1, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TensorShape {
    pub(super) hwc: Hwc,
    pub(super) is_row: bool,
}

impl TensorShape {
    /// `None` for what is neither.
    pub(super) fn of(dims: &[usize]) -> Option<Self> {
        match *dims {
            [1, channels] => Some(Self { hwc: [1, 1, channels], is_row: true }),
            [1, channels, height, width] => Some(Self::image([height, width, channels])),
            _ => None,
        }
    }

    pub(super) fn image(hwc: Hwc) -> Self {
        Self { hwc, is_row: false }
    }

    /// As ONNX and tract have it.
    pub(super) fn dims(self) -> Vec<usize> {
        let [height, width, channels] = self.hwc;
        if self.is_row { vec![1, channels] } else { vec![1, channels, height, width] }
    }

    /// How many elements it has.
    pub(super) fn len(self) -> usize {
        self.hwc.iter().product()
    }
}
