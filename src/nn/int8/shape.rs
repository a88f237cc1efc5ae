//! The geometry of a convolution, checked once so that nothing after it can overflow.

use std::fmt;

/// More elements than this in a tensor is a damaged file, and fewer cannot overflow the arithmetic on addresses.
const MOST_ELEMENTS: usize = 1 << 28;

/// A 2-D convolution of one NHWC image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Height, width and channels of the input.
    pub input: [usize; 3],
    /// Channels of the output.
    pub outputs: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps of the window, vertical and horizontal.
    pub stride: [usize; 2],
    /// Pixels of zero point around the input: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance of neighbouring taps, vertical and horizontal.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

/// Why a convolution cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvError {
    /// A size that must not be zero is zero, or the groups do not divide the channels.
    Shape(&'static str),
    /// A tensor would have more than 2^28 elements.
    TooLarge(&'static str),
    /// The dilated window does not fit into the padded input.
    WindowOutside,
    /// A side is padded with more than a whole window.
    Pads,
    /// A slice has another length than the shape says.
    Length { what: &'static str, expected: usize, found: usize },
    /// This processor does not have the instruction set.
    Isa,
}

impl fmt::Display for ConvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(what) => write!(f, "a convolution's {what}"),
            Self::TooLarge(what) => write!(f, "a convolution's {what} would have more than 2^28 elements"),
            Self::WindowOutside => write!(f, "a convolution's window is larger than its padded input"),
            Self::Pads => write!(f, "a convolution is padded with a whole window or more"),
            Self::Length { what, expected, found } => {
                write!(f, "a convolution has {found} elements of {what} instead of {expected}")
            }
            Self::Isa => write!(f, "this processor lacks the instruction set asked for"),
        }
    }
}

impl std::error::Error for ConvError {}

impl ConvShape {
    /// Checks what the kernels rely on: sizes other than zero, groups that divide the channels, a window inside the
    /// padded input, no more than 2^28 elements anywhere.
    ///
    /// # Errors
    ///
    /// Says which of these does not hold. Never panics or overflows, whatever the sizes.
    pub fn validate(&self) -> Result<(), ConvError> {
        let positive = [
            (&self.input[..], "input is empty"),
            (&[self.outputs][..], "output has no channels"),
            (&self.kernel[..], "window is empty"),
            (&self.stride[..], "stride is 0"),
            (&self.dilation[..], "dilation is 0"),
            (&[self.groups][..], "groups are 0"),
        ];
        for (sizes, what) in positive {
            if sizes.contains(&0) {
                return Err(ConvError::Shape(what));
            }
        }
        if !self.input[2].is_multiple_of(self.groups) || !self.outputs.is_multiple_of(self.groups) {
            return Err(ConvError::Shape("groups do not divide its channels"));
        }
        limited(&self.input, "input")?;
        limited(&[self.outputs, self.input[2] / self.groups, self.kernel[0], self.kernel[1]], "weights")?;
        let mut padded = [0; 2];
        for (axis, padded) in padded.iter_mut().enumerate() {
            let extent = self.dilation[axis].checked_mul(self.kernel[axis] - 1).and_then(|e| e.checked_add(1));
            let extent = extent.filter(|e| *e <= MOST_ELEMENTS).ok_or(ConvError::WindowOutside)?;
            if self.pads[axis] >= extent.max(2) || self.pads[axis + 2] >= extent.max(2) {
                return Err(ConvError::Pads);
            }
            *padded = self.input[axis] + self.pads[axis] + self.pads[axis + 2];
            if extent > *padded {
                return Err(ConvError::WindowOutside);
            }
        }
        limited(&[padded[0], padded[1], self.input[2]], "padded input")?;
        limited(&self.output(), "output")?;
        Ok(())
    }

    /// Height, width and channels of the output.
    ///
    /// # Panics
    ///
    /// May panic if [`ConvShape::validate`] refuses the shape.
    pub fn output(&self) -> [usize; 3] {
        let along = |axis: usize| {
            let padded = self.input[axis] + self.pads[axis] + self.pads[axis + 2];
            (padded - self.dilation[axis] * (self.kernel[axis] - 1) - 1) / self.stride[axis] + 1
        };
        [along(0), along(1), self.outputs]
    }

    /// Multiplications of one run.
    ///
    /// # Panics
    ///
    /// As [`ConvShape::output`].
    pub fn macs(&self) -> u64 {
        let per_output = self.kernel[0] * self.kernel[1] * (self.input[2] / self.groups);
        self.output().iter().map(|d| *d as u64).product::<u64>() * per_output as u64
    }

    /// Whether each channel has a filter of its own.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input[2] && self.groups == self.outputs
    }

    /// Weights of one output channel.
    pub(super) fn window(&self) -> usize {
        self.kernel[0] * self.kernel[1] * (self.input[2] / self.groups)
    }

    /// Whether every input pixel gives one output pixel, so that rows can be joined.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pads == [0; 4]
    }
}

fn limited(sizes: &[usize], what: &'static str) -> Result<(), ConvError> {
    let product = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    product.filter(|p| *p <= MOST_ELEMENTS).map(|_| ()).ok_or(ConvError::TooLarge(what))
}
