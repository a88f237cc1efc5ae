//! From NCHW, as ONNX has it, to NHWC, as our operators run it, and back.

/// Pixels that are transposed at once, so that both sides stay in the cache.
const BLOCK: usize = 64;

/// NCHW to NHWC.
pub(super) fn interleave<T: Copy>(x: &[T], pixels: usize, channels: usize, y: &mut [T], map: impl Fn(T) -> T) {
    if channels == 3 {
        // An image: vectors of three planes at a time.
        let (red, others) = x.split_at(pixels);
        let (green, blue) = others.split_at(pixels);
        let planes = red.iter().zip(green).zip(blue);
        for (out, ((&r, &g), &b)) in y.as_chunks_mut::<3>().0.iter_mut().zip(planes) {
            *out = [map(r), map(g), map(b)];
        }
        return;
    }
    for first in (0..pixels).step_by(BLOCK) {
        let count = BLOCK.min(pixels - first);
        let out = &mut y[first * channels..][..count * channels];
        for c in 0..channels {
            let plane = &x[c * pixels + first..][..count];
            out[c..].iter_mut().step_by(channels).zip(plane).for_each(|(out, &v)| *out = map(v));
        }
    }
}

/// NHWC to NCHW.
pub(super) fn deinterleave<T: Copy>(x: &[T], pixels: usize, channels: usize, y: &mut [T], map: impl Fn(T) -> T) {
    for first in (0..pixels).step_by(BLOCK) {
        let count = BLOCK.min(pixels - first);
        let from = &x[first * channels..][..count * channels];
        for c in 0..channels {
            let plane = &mut y[c * pixels + first..][..count];
            plane.iter_mut().zip(from[c..].iter().step_by(channels)).for_each(|(out, &v)| *out = map(v));
        }
    }
}
