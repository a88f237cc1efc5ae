//! What tensors of a region look like, and which of them an operator takes.

use super::super::fusion::{
    Becomes, Fused, FusedAdd, FusedAverage, FusedConv, FusedMean, FusedMoment, FusedMul, FusedPool, FusedResize,
    FusedStack, FusedStore, FusedTable, Grid, Op,
};
use super::super::int8::ConvShape;
use super::steps::{AveragePool, MaxPool, Mean, Mul, Resize, Squares, Stack};

/// Height, width and channels.
pub(in super::super) type Shape = [usize; 3];

/// What a tensor of the border holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Stored {
    Unsigned,
    Signed,
    Float,
}

impl Stored {
    fn on(grid: Grid) -> Self {
        if grid.is_signed { Self::Signed } else { Self::Unsigned }
    }

    /// What makes its bytes those that are run, and back again.
    pub(super) fn flip(self) -> u8 {
        if self == Self::Signed { 0x80 } else { 0 }
    }
}

/// One picture, `[1, C, H, W]`, or one row, `[1, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Form {
    pub(super) shape: Shape,
    pub(super) is_row: bool,
}

impl Form {
    pub(in super::super) fn of(dims: &[usize]) -> Option<Self> {
        match *dims {
            [1, channels] => Some(Self { shape: [1, 1, channels], is_row: true }),
            [1, channels, height, width] => Some(Self { shape: [height, width, channels], is_row: false }),
            _ => None,
        }
    }

    /// As ONNX and tract have it.
    pub(super) fn dims(self) -> Vec<usize> {
        let [height, width, channels] = self.shape;
        if self.is_row { vec![1, channels] } else { vec![1, channels, height, width] }
    }
}

impl Fused {
    /// The form of the result for these inputs.
    pub(in super::super) fn form(&self, x: &[Form]) -> Result<Form, String> {
        let at = |e: &dyn std::fmt::Display| format!("{}: {e} (input {x:?})", self.name);
        let picture = |shape: Shape| Form { shape, is_row: false };
        let is_product = matches!(&self.op, Op::Conv(conv) if conv.is_row);
        let takes_rows = is_product || matches!(&self.op, Op::Table(_));
        if !takes_rows && x.iter().any(|x| x.is_row) {
            return Err(at(&"a row where a picture should be"));
        }
        let shapes: Vec<Shape> = x.iter().map(|x| x.shape).collect();
        match &self.op {
            Op::Conv(conv) => {
                let shape = conv_shape(conv, shapes[0]);
                shape.validate().map_err(|e| at(&e))?;
                if shape.input[2] != conv.dims[1].saturating_mul(conv.groups) {
                    return Err(at(&format!("weights are for {} channels", conv.dims[1].saturating_mul(conv.groups))));
                }
                if conv.is_row && shape.input[..2] != [1, 1] {
                    return Err(at(&"a picture where a row should be"));
                }
                let [height, width, channels] = shape.output();
                let is_one = matches!(conv.becomes, Becomes::Greatest { .. });
                Ok(Form { shape: [height, width, if is_one { 1 } else { channels }], is_row: conv.is_row })
            }
            Op::Add(_) if x[0] == x[1] => Ok(x[0]),
            Op::Add(_) => Err(at(&"an addition of different shapes")),
            Op::Mul(_) => {
                Mul::shape(shapes[0], shapes[1]).map(picture).ok_or_else(|| at(&"a product of different shapes"))
            }
            Op::MaxPool(pool) => {
                MaxPool::shape(pool, shapes[0]).map(picture).ok_or_else(|| at(&"a window larger than the input"))
            }
            Op::Average(pool) => {
                AveragePool::shape(pool, shapes[0]).map(picture).ok_or_else(|| at(&"a window larger than the input"))
            }
            Op::Resize(resize) => {
                Resize::shape(resize, shapes[0]).map(picture).ok_or_else(|| at(&"a picture too large, or of nothing"))
            }
            Op::Table(_) => Ok(x[0]),
            Op::Mean(FusedMean { is_row, .. }) | Op::Moment(FusedMoment { is_row, .. }) => Mean::shape(shapes[0])
                .map(|shape| Form { shape, is_row: *is_row })
                .ok_or_else(|| at(&"a mean of nothing, or of too much")),
            Op::Store(_) => Ok(x[0]),
            Op::Squares(squares) => {
                Squares::shape(squares, &shapes).map(picture).ok_or_else(|| at(&"constants of another shape"))
            }
            Op::Stack(stack) => {
                Stack::shape(stack, &shapes).map(picture).ok_or_else(|| at(&"inputs that do not lie on each other"))
            }
        }
    }

    pub(super) fn stored(&self) -> Stored {
        match &self.op {
            Op::Conv(conv) => match &conv.becomes {
                Becomes::Bytes { grid, .. } => Stored::on(*grid),
                Becomes::Floats { .. } | Becomes::Greatest { .. } => Stored::Float,
            },
            Op::Moment(_) | Op::Squares(_) => Stored::Float,
            Op::Add(FusedAdd { y: grid, .. })
            | Op::Mul(FusedMul(FusedAdd { y: grid, .. }))
            | Op::MaxPool(FusedPool { grid, .. })
            | Op::Average(FusedAverage { y: grid, .. })
            | Op::Resize(FusedResize { y: grid, .. })
            | Op::Table(FusedTable { y: grid, .. })
            | Op::Mean(FusedMean { y: grid, .. })
            | Op::Store(FusedStore { grid, .. })
            | Op::Stack(FusedStack { y: grid, .. }) => Stored::on(*grid),
        }
    }

    /// As what it reads its input `at`.
    pub(super) fn read(&self, at: usize) -> Stored {
        let grid = match &self.op {
            Op::Conv(conv) => conv.x,
            Op::Add(add) => add.x[at],
            Op::Mul(FusedMul(mul)) => mul.x[at],
            Op::MaxPool(pool) => pool.grid,
            Op::Average(pool) => pool.x,
            Op::Resize(resize) => resize.x,
            Op::Table(table) => table.x,
            Op::Mean(mean) => mean.x,
            Op::Moment(moment) => moment.x,
            Op::Squares(squares) if at == 0 => squares.x,
            Op::Squares(_) => return Stored::Signed,
            Op::Stack(stack) => stack.branches[at].x,
            Op::Store(_) => return Stored::Float,
        };
        Stored::on(grid)
    }
}

pub(super) fn conv_shape(conv: &FusedConv, input: Shape) -> ConvShape {
    let [outputs, _, height, width] = conv.dims;
    ConvShape {
        input,
        outputs,
        kernel: [height, width],
        stride: conv.stride,
        pads: conv.pads,
        dilation: conv.dilation,
        groups: conv.groups,
    }
}
