//! Loops over bytes that a wider instruction set makes faster, and nothing else changes: the same Rust, compiled again.
//!
//! Results are the same bits: every operation is one that IEEE 754 defines, and none is contracted.

use super::super::isa::Isa;

/// 1.5 * 2^23: added to a value of small magnitude it leaves the value, rounded half to even, in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Rounds steps half to even onto a grid's bytes; without an instruction for it that old processors lack.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Rounding {
    low: f32,
    high: f32,
    zero: u8,
}

impl Rounding {
    /// Onto bytes from `low` to `high`, of which `zero` means 0.
    pub(in crate::nn) fn new(zero: u8, low: u8, high: u8) -> Self {
        let steps = |byte: u8| f32::from(byte) - f32::from(zero);
        Self { low: steps(low), high: steps(high), zero }
    }

    /// What is not a number becomes the least byte.
    #[inline(always)]
    pub(in crate::nn) fn byte(self, steps: f32) -> u8 {
        let above = if steps > self.low { steps } else { self.low };
        let inside = if above < self.high { above } else { self.high };
        ((inside + ROUND).to_bits() as u8).wrapping_add(self.zero)
    }
}

/// What two stored numbers mean, and what is stored of their sum.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Sum {
    pub(in crate::nn) scales: [f32; 2],
    pub(in crate::nn) zeros: [f32; 2],
    pub(in crate::nn) y: f32,
    pub(in crate::nn) rounding: Rounding,
}

/// Floats on their way to a grid; negative ones are multiplied by `leak` first.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Storing {
    pub(in crate::nn) scale: f32,
    pub(in crate::nn) leak: f32,
    pub(in crate::nn) rounding: Rounding,
}

/// Compiles a function for AVX2 and AVX-512 as well, and picks one.
macro_rules! widened {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) $body:block) => {
        $(#[$doc])*
        pub(in crate::nn) fn $name(isa: Isa, $($arg: $type),*) {
            #[inline(always)]
            fn plain($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) {
                plain($($arg),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) {
                plain($($arg),*);
            }

            match isa {
                // SAFETY: the processor has the instruction set.
                #[cfg(target_arch = "x86_64")]
                Isa::Vnni if isa.is_available() => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 if isa.is_available() => unsafe { avx2($($arg),*) },
                _ => plain($($arg),*),
            }
        }
    };
}

widened! {
    /// `rint(((a - za) sa + (b - zb) sb) / s) + z`, clamped.
    add(sum: Sum, a: &[u8], b: &[u8], y: &mut [u8]) {
        let Sum { scales: [sa, sb], zeros: [za, zb], y: scale, rounding } = sum;
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            let sum = (f32::from(a) - za) * sa + (f32::from(b) - zb) * sb;
            *y = rounding.byte(sum / scale);
        }
    }
}

widened! {
    /// `rint(x / s) + z`, clamped.
    store(to: Storing, x: &[f32], y: &mut [u8]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let x = if x < 0.0 { x * to.leak } else { x };
            *y = to.rounding.byte(x / to.scale);
        }
    }
}
