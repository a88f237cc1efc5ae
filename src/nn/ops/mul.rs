//! `a.q, b.q ─ DQ ─ Mul ─ [Relu | Clip] ─ Q ─ y.q`: number by number, or by one for each channel.

use super::super::int8::Isa;
use super::super::int8::pointwise::{self, BinaryParams};
use super::super::tensor::{DType, Hwc, TensorShape};
use super::binary::Binary;
use super::operator::{Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern = Pattern { nodes: &["Mul"], find: |view, i| Binary::find(view, i, Mul) };

/// The product of two quantised tensors, quantised: `clamp(rint((a - za) sa (b - zb) sb / s) + z)`, every operation
/// rounded to f32. Either may be a single pixel, which all pixels of the other are multiplied by.
#[derive(Debug)]
struct Mul(Binary);

impl IntOp for Mul {
    fn input(&self, at: usize) -> DType {
        self.0.input(at)
    }

    fn output(&self) -> DType {
        self.0.output()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        let (a, b) = (x[0].hwc, x[1].hwc);
        let is_pixel = |x: Hwc| x[..2] == [1, 1];
        let larger = if is_pixel(a) { b } else { a };
        let fits = a == b || (a[2] == b[2] && (is_pixel(a) || is_pixel(b)));
        let is_ours = fits && !larger.contains(&0);
        if is_ours { Ok(TensorShape::image(larger)) } else { Err("a product of different shapes".into()) }
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let sizes = [x[0], x[1]].map(|x| x.iter().product::<usize>());
        Ok(Step::bytes(MulStep { isa, params: self.0.params(), piece: sizes[0].min(sizes[1]) }))
    }
}

struct MulStep {
    isa: Isa,
    params: BinaryParams,
    /// Bytes that are multiplied at a time: all, or a pixel where one of the two has no other.
    piece: usize,
}

impl Run<u8> for MulStep {
    fn name(&self) -> &'static str {
        "Mul"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        let [a, b] = [0, 1].map(|at| x.bytes(at).chunks_exact(self.piece).cycle());
        for (y, (a, b)) in y.chunks_exact_mut(self.piece).zip(a.zip(b)) {
            pointwise::multiply(self.isa, self.params, a, b, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    fn mul() -> Mul {
        Mul(Binary {
            x: [testing::u8_type(0.5, 2), testing::u8_type(1.0, 0)],
            y: testing::u8_type(1.0, 0),
            low: 0,
            high: 255,
        })
    }

    #[test]
    fn one_pixel_multiplies_all_others() {
        let image = ([1, 2, 2], &[4, 6, 2, 8][..]);
        assert_eq!(testing::bytes(&mul(), &[image, ([1, 1, 2], &[3, 10])]), [3, 20, 0, 30]);
        assert_eq!(testing::bytes(&mul(), &[image, ([1, 2, 2], &[3, 10, 1, 200])]), [3, 20, 0, 255]);
    }

    #[test]
    fn neither_of_two_images_of_different_sizes_is_repeated() {
        let shapes = |a, b| [TensorShape::image(a), TensorShape::image(b)];
        assert!(mul().infer(&shapes([2, 2, 3], [1, 2, 3])).is_err());
        assert!(mul().infer(&shapes([2, 2, 3], [1, 1, 4])).is_err());
        assert_eq!(mul().infer(&shapes([1, 1, 3], [2, 2, 3])), Ok(TensorShape::image([2, 2, 3])));
    }
}
