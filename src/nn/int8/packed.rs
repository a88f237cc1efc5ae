//! Packed weights, and the sizes that those who pack, gather and multiply agree on.

/// The most pixels of a strip. Weights are read once a strip, activations once a panel of weights; both stay in the cache.
pub(super) const STRIP: usize = 32;

/// The most segments of a window that a kernel walks in place.
pub(super) const SEGMENTS: usize = 32;

/// Bytes after a row that may be read, and after a gathered strip that may be written, by copies of whole blocks.
pub(super) const SLACK: usize = 16;

/// What is added to signed weights where they are stored as unsigned bytes.
pub(super) const RAISED: u8 = 1 << 7;

/// Weights in the order of an instruction set, for one block of outputs.
pub(super) struct Packed {
    /// Dense: `[outputs / lanes][window / unit][lanes][unit]`, as unsigned bytes where a kernel `raises` them.
    /// Depthwise: `[tap][channel]`. Others: empty.
    pub weights: Vec<i8>,
    /// One for each output, padded with zeros to whole vectors.
    pub bias: Vec<i32>,
    /// Bytes of a window, padded to whole units.
    pub window: usize,
    /// Whether no weight is -128: then two products of i8 fit into an i16.
    #[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "the other kernels need not know"))]
    pub above_min: bool,
}
