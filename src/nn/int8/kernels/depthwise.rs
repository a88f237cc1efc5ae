//! The depthwise kernel of x86-64, on vectors of either width.

/// Makes the function `depthwise` of a kernel module from its functions on vectors of `LANES` channels:
///
/// - `channels_of(*const u8) -> I` and `weights_of(*const i8) -> I`, which widen them to i32,
/// - `plus_products(I, I, I) -> I`, `sums(*const i32) -> I` and `put_sums(*mut i32, I)`.
///
/// Where a window has one of `$taps` taps, its weights stay in registers.
macro_rules! depthwise_with {
    ($features:literal, [$($taps:literal),+]) => {
        #[target_feature(enable = $features)]
        fn depthwise(strip: &Strip<'_>, sink: &mut Sink<'_>) {
            strip.check_depthwise(LANES);
            if strip.outputs < LANES {
                some_channels::<LANES, 0>(strip, sink, 0);
            }
            for channel in strip.blocks(LANES) {
                match strip.segments.len() {
                    $($taps => channels::<$taps>(strip, sink, channel),)+
                    _ => channels::<0>(strip, sink, channel),
                }
            }
        }

        /// A vector of channels of all pixels; `T` taps whose weights stay in registers, or any number.
        #[target_feature(enable = $features)]
        #[inline(never)]
        fn channels<const T: usize>(strip: &Strip<'_>, sink: &mut Sink<'_>, channel: usize) {
            let taps: [*const u8; T] = strip.taps(channel);
            // SAFETY: there is a vector of channels from `channel` on, for which `check_depthwise` found weights for each
            // tap and `Strip::new` activations for each pixel; an array of sums has a vector's length.
            unsafe {
                let bias = sums(strip.packed.bias.as_ptr().add(channel));
                let mut weights = strip.packed.weights.as_ptr().add(channel);
                let mut kept = [bias; T];
                for t in 0..T {
                    kept[t] = weights_of(weights);
                    weights = weights.add(strip.outputs);
                }
                let mut all = [[0_i32; LANES]; STRIP];
                for (pixel, sums) in all.iter_mut().take(strip.pixels).enumerate() {
                    let at = pixel * strip.step;
                    let mut acc = bias;
                    for t in 0..T {
                        acc = plus_products(acc, channels_of(taps[t].add(at)), kept[t]);
                    }
                    if T == 0 {
                        let mut weights = weights;
                        for tap in strip.segments {
                            let x = channels_of(tap.as_ptr().add(at + channel));
                            acc = plus_products(acc, x, weights_of(weights));
                            weights = weights.add(strip.outputs);
                        }
                    }
                    put_sums(sums.as_mut_ptr(), acc);
                }
                finish(&all[..strip.pixels], sink, 0, channel, strip.outputs);
            }
        }
    };
}
pub(super) use depthwise_with;
