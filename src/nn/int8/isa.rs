//! Which instruction sets exist, which of them this processor has, and the kernels of each.

use super::kernels::{self, Kernels};

/// An instruction set with kernels of its own. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust, on every processor.
    Portable,
    /// x86-64 of 2013 and later.
    Avx2,
    /// x86-64 with AVX512-VNNI.
    Vnni,
    /// Every aarch64 (Cortex-A53, A72).
    Neon,
    /// aarch64 with SDOT (Cortex-A76, A78AE).
    Dotprod,
    /// aarch64 with USMMLA (Neoverse V1, Cortex-A510 and later).
    I8mm,
}

impl Isa {
    /// All of them, slowest first on each architecture.
    pub const ALL: [Self; 6] = [Self::Portable, Self::Avx2, Self::Vnni, Self::Neon, Self::Dotprod, Self::I8mm];

    /// The fastest that this processor has. Asks the processor: call it once and keep the answer.
    pub fn best() -> Self {
        Self::available().last().unwrap_or(Self::Portable)
    }

    /// Those that this processor has, slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => {
                std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512dq")
                    && std::is_x86_feature_detected!("avx512vl")
                    && std::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::Dotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::I8mm => std::arch::is_aarch64_feature_detected!("i8mm"),
            _ => false,
        }
    }

    /// The dispatch table. Instruction sets of other architectures have the portable kernels.
    pub(super) fn kernels(self) -> &'static Kernels {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => &kernels::avx2::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => &kernels::vnni::KERNELS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => &kernels::neon::KERNELS,
            #[cfg(target_arch = "aarch64")]
            Self::Dotprod => &kernels::dotprod::KERNELS,
            #[cfg(target_arch = "aarch64")]
            Self::I8mm => &kernels::i8mm::KERNELS,
            _ => &kernels::portable::KERNELS,
        }
    }
}
