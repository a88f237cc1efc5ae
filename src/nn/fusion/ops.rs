//! What regions are made of: operators on stored tensors, as far as the graph says what they do.

/// A stored tensor: unsigned bytes, or signed ones, which are run 128 higher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Grid {
    pub(in super::super) scale: f32,
    /// As an unsigned byte.
    pub(in super::super) zero: u8,
    pub(in super::super) is_signed: bool,
}

/// What accumulators become.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Becomes {
    /// Bytes: `clamp(rint(acc * scale) + zero, low, high)`.
    Bytes { scale: Vec<f32>, grid: Grid, low: u8, high: u8 },
    /// `acc * scale + bias`.
    Floats { scale: Vec<f32>, bias: Vec<f32> },
    /// The greatest of these over all channels.
    Greatest { scale: Vec<f32>, bias: Vec<f32> },
}

/// A convolution on its integers.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedConv {
    pub(in super::super) x: Grid,
    /// `[outputs, channels / groups, height, width]`.
    pub(in super::super) dims: [usize; 4],
    /// Signed bytes whose sums are the weights less their zero points: mostly one part ([`parts`](crate::nn::int8)).
    pub(in super::super) parts: Vec<Vec<i8>>,
    pub(in super::super) bias: Vec<i32>,
    pub(in super::super) stride: [usize; 2],
    pub(in super::super) pads: [usize; 4],
    pub(in super::super) dilation: [usize; 2],
    pub(in super::super) groups: usize,
    pub(in super::super) becomes: Becomes,
    /// Whether it is the product of one row with a matrix: input and output are `[1, n]`.
    pub(in super::super) is_row: bool,
}

/// The sum of two stored tensors on a third grid.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedAdd {
    pub(in super::super) x: [Grid; 2],
    pub(in super::super) y: Grid,
    pub(in super::super) low: u8,
    pub(in super::super) high: u8,
}

/// The product of two stored tensors on a third grid. Either may be one pixel, which all of the other's are multiplied by.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedMul(pub(in super::super) FusedAdd);

/// The greatest byte of each window.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedPool {
    pub(in super::super) grid: Grid,
    pub(in super::super) kernel: [usize; 2],
    pub(in super::super) stride: [usize; 2],
    pub(in super::super) pads: [usize; 4],
}

/// The mean of each window.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedAverage {
    pub(in super::super) x: Grid,
    pub(in super::super) y: Grid,
    pub(in super::super) kernel: [usize; 2],
    pub(in super::super) stride: [usize; 2],
    pub(in super::super) pads: [usize; 4],
    /// Whether what lies outside of the picture counts as zeros.
    pub(in super::super) counts_pads: bool,
}

/// Where a cell of the larger picture lies in the smaller one, along one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Coordinates {
    HalfPixel,
    /// As `HalfPixel`, and 0 where the larger side is one cell.
    PytorchHalfPixel,
    Asymmetric,
    AlignCorners,
}

/// Four neighbours blended for each cell of a picture that is larger by whole factors.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedResize {
    pub(in super::super) x: Grid,
    pub(in super::super) y: Grid,
    /// Vertical and horizontal.
    pub(in super::super) factor: [usize; 2],
    pub(in super::super) coordinates: Coordinates,
    /// Whether bytes themselves are blended and the fraction cut off, as onnxruntime does where nothing dequantises them;
    /// rounded half to even otherwise.
    pub(in super::super) cuts: bool,
}

/// Another byte for each byte.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedTable {
    pub(in super::super) x: Grid,
    pub(in super::super) y: Grid,
    pub(in super::super) table: [u8; 256],
}

/// The mean of each channel over the whole picture.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedMean {
    pub(in super::super) x: Grid,
    pub(in super::super) y: Grid,
    /// Whether the result is `[1, channels]`.
    pub(in super::super) is_row: bool,
}

/// The mean of each channel, or of its square, over the whole picture, in floats.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedMoment {
    pub(in super::super) x: Grid,
    pub(in super::super) is_squared: bool,
    /// Whether the result is `[1, channels]`.
    pub(in super::super) is_row: bool,
}

/// Floats put on a grid.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedStore {
    pub(in super::super) grid: Grid,
    /// What negative values are multiplied by first.
    pub(in super::super) leak: Option<f32>,
}

/// The sum of squares over channels, of the stored values or of `(x - mean) * gain`.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedSquares {
    pub(in super::super) x: Grid,
    pub(in super::super) from: Option<Usual>,
}

/// Means and gains that values are taken from, `[channels, height, width]` each.
#[derive(Clone, Debug)]
pub(in super::super) enum Usual {
    Constant([Vec<f32>; 2]),
    /// Further inputs of signed bytes, with the steps of each channel.
    Shown([Vec<f32>; 2]),
}

/// Stored tensors side by side on one grid, each averaged over neighbours, multiplied and repeated first.
#[derive(Clone, Debug)]
pub(in super::super) struct FusedStack {
    pub(in super::super) branches: Vec<Branch>,
    pub(in super::super) y: Grid,
}

#[derive(Clone, Debug)]
pub(in super::super) struct Branch {
    pub(in super::super) x: Grid,
    /// Sides of the window that is averaged, an odd number each; what lies outside of the picture does not count.
    pub(in super::super) window: [usize; 2],
    /// For each channel; none for 1.
    pub(in super::super) gain: Vec<f32>,
    /// How often each cell is repeated along each side.
    pub(in super::super) repeat: usize,
}

#[derive(Clone, Debug)]
pub(in super::super) enum Op {
    Conv(FusedConv),
    Add(FusedAdd),
    Mul(FusedMul),
    MaxPool(FusedPool),
    Average(FusedAverage),
    Resize(FusedResize),
    Table(FusedTable),
    Mean(FusedMean),
    Moment(FusedMoment),
    Store(FusedStore),
    Squares(FusedSquares),
    Stack(FusedStack),
}

/// An operator of a region: reads stored tensors, makes one tensor.
#[derive(Clone, Debug)]
pub(in super::super) struct Fused {
    pub(in super::super) x: Vec<String>,
    pub(in super::super) y: String,
    pub(in super::super) op: Op,
    /// The node that it was written as, for messages.
    pub(in super::super) name: String,
    /// The nodes that it stands for.
    pub(super) nodes: Vec<usize>,
}

impl Fused {
    /// Whether its result is stored as bytes.
    pub(in super::super) fn makes_bytes(&self) -> bool {
        match &self.op {
            Op::Conv(conv) => matches!(conv.becomes, Becomes::Bytes { .. }),
            Op::Moment(_) | Op::Squares(_) => false,
            _ => true,
        }
    }

    /// Whether it reads bytes.
    pub(in super::super) fn reads_bytes(&self) -> bool {
        !matches!(self.op, Op::Store(_))
    }
}
