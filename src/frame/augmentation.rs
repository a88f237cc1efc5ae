//! How parts and their pictures may differ from one to the next: what a plant says and training runs show.

/// The most by which a picture of the same part may differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// Whether parts come mirrored left to right, and top to bottom.
    pub flips: [bool; 2],
    /// Degrees by which they are turned about the picture's middle.
    pub rotation: f64,
    /// Share of the picture's sides by which they are shifted.
    pub shift: f64,
    /// Share by which they are larger or smaller.
    pub scale: f64,
    /// Share by which pictures are brighter or darker.
    pub brightness: f64,
    /// Share by which they differ more or less from their mean grey.
    pub contrast: f64,
    /// Greys are bent to powers from `1 / (1 + gamma)` to `1 + gamma`.
    pub gamma: f64,
    /// Radius of the disc that a point out of focus becomes, pixels.
    pub blur: f64,
    /// Standard deviation of noise, grey levels of 255.
    pub noise: f64,
    /// The least quality at which pictures are compressed as JPEG; 100 for not at all.
    pub jpeg: u8,
}

impl Default for Augmentation {
    /// As parts shift under a camera that is fixed, with its noise and compression.
    fn default() -> Self {
        Self {
            flips: [false; 2],
            rotation: 0.0,
            shift: 0.02,
            scale: 0.04,
            brightness: 0.0,
            contrast: 0.0,
            gamma: 0.0,
            blur: 0.0,
            noise: 4.0,
            jpeg: 60,
        }
    }
}
