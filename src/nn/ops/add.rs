//! `a.q, b.q ─ DQ ─ Add ─ [Relu | Clip] ─ Q ─ y.q`

use super::super::int8::Isa;
use super::super::int8::pointwise::{self, BinaryParams};
use super::super::tensor::{DType, Hwc, TensorShape};
use super::binary::Binary;
use super::operator::{Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern = Pattern { nodes: &["Add"], find: |view, i| Binary::find(view, i, Add) };

/// The sum of two quantised tensors, quantised: `clamp(rint(((a - za) sa + (b - zb) sb) / s) + z)`, as it is written in
/// QDQ form, every operation rounded to f32.
#[derive(Debug)]
struct Add(Binary);

impl IntOp for Add {
    fn input(&self, at: usize) -> DType {
        self.0.input(at)
    }

    fn output(&self) -> DType {
        self.0.output()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        if x[0] == x[1] { Ok(x[0]) } else { Err("an addition of different shapes".into()) }
    }

    fn compile(&self, _x: &[Hwc], isa: Isa) -> Result<Step, String> {
        Ok(Step::bytes(AddStep { isa, params: self.0.params() }))
    }
}

struct AddStep {
    isa: Isa,
    params: BinaryParams,
}

impl Run<u8> for AddStep {
    fn name(&self) -> &'static str {
        "Add"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        pointwise::add(self.isa, self.params, x.bytes(0), x.bytes(1), y);
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    #[test]
    fn a_sum_is_rounded_half_to_even_and_clamped() {
        let x = [testing::u8_type(0.5, 10), testing::u8_type(1.0, 0)];
        let add = Add(Binary { x, y: testing::u8_type(1.0, 3), low: 3, high: 9 });
        let made = testing::bytes(&add, &[([1, 5, 1], &[11, 13, 10, 10, 0]), ([1, 5, 1], &[0, 0, 2, 200, 0])]);
        // 0.5 and 1.5 steps go to 0 and 2.
        assert_eq!(made, [3, 5, 5, 9, 3]);
    }

    #[test]
    fn different_shapes_are_refused() {
        let x = testing::u8_type(1.0, 0);
        let add = Add(Binary { x: [x, x], y: x, low: 0, high: 255 });
        assert!(add.infer(&[TensorShape::image([2, 2, 3]), TensorShape::image([1, 1, 3])]).is_err());
    }
}
