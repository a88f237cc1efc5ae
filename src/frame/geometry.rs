//! Rectangles in frame pixels and the fractional views that the model looks through.

/// A rectangle in frame pixels, inside the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roi {
    /// Left edge, pixels from the frame's left.
    pub x: u32,
    /// Top edge, pixels from the frame's top.
    pub y: u32,
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
}

impl Roi {
    /// The whole of a `width` x `height` frame.
    pub const fn whole(width: u32, height: u32) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    /// Whether the pixel (x, y) lies inside.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        (self.x..self.x + self.width).contains(&x) && (self.y..self.y + self.height).contains(&y)
    }

    /// Intersection over union with `other`, in 0..=1.
    pub fn iou(&self, other: &Self) -> f64 {
        View::of(*self).iou(&View::of(*other))
    }
}

/// A rectangle in fractional frame pixels that the model looks through; may reach beyond the frame, where the frame
/// is seen in a mirror.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Left edge, pixels from the frame's left.
    pub x: f64,
    /// Top edge, pixels from the frame's top.
    pub y: f64,
    /// Width in frame pixels.
    pub width: f64,
    /// Height in frame pixels.
    pub height: f64,
}

impl View {
    /// The whole of a `frame_width` x `frame_height` frame.
    ///
    /// The model's input has the aspect that most pictures had when it was taught; a frame of another one is squashed
    /// onto it, so that parts keep their places in the input and no input is spent on what lies beyond the frame
    /// (letterboxing cost .02 of AUROC on pictures of mixed sizes).
    pub fn whole(frame_width: u32, frame_height: u32) -> Self {
        Self { x: 0.0, y: 0.0, width: frame_width.into(), height: frame_height.into() }
    }

    /// The view that shows exactly `roi`.
    pub fn of(roi: Roi) -> Self {
        Self { x: roi.x.into(), y: roi.y.into(), width: roi.width.into(), height: roi.height.into() }
    }

    /// Intersection over union with `other`, in 0..=1.
    pub fn iou(&self, other: &Self) -> f64 {
        let along = |at: f64, length: f64, to: f64, other: f64| ((at + length).min(to + other) - at.max(to)).max(0.0);
        let both = along(self.x, self.width, other.x, other.width) * along(self.y, self.height, other.y, other.height);
        let either = self.width * self.height + other.width * other.height - both;
        if either == 0.0 { 0.0 } else { both / either }
    }

    /// The part of the view that lies inside the frame, rounded outwards to whole pixels.
    pub fn inside(&self, frame_width: u32, frame_height: u32) -> Roi {
        let clamp = |v: f64, max: u32| v.clamp(0.0, f64::from(max));
        let x0 = clamp(self.x.floor(), frame_width.saturating_sub(1)) as u32;
        let y0 = clamp(self.y.floor(), frame_height.saturating_sub(1)) as u32;
        let x1 = clamp((self.x + self.width).ceil(), frame_width) as u32;
        let y1 = clamp((self.y + self.height).ceil(), frame_height) as u32;
        Roi { x: x0, y: y0, width: x1.saturating_sub(x0).max(1), height: y1.saturating_sub(y0).max(1) }
    }

    /// Moves the view by as little as possible so that it lies inside the frame; centred where it is larger than it.
    #[must_use]
    pub fn shifted_inside(mut self, frame_width: u32, frame_height: u32) -> Self {
        let fit = |at: f64, len: f64, max: f64| if len >= max { (max - len) / 2.0 } else { at.clamp(0.0, max - len) };
        self.x = fit(self.x, self.width, f64::from(frame_width));
        self.y = fit(self.y, self.height, f64::from(frame_height));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_clipped_and_shifted_into_the_frame() {
        let v = View { x: -20.0, y: 90.5, width: 40.0, height: 20.0 };
        assert_eq!(v.inside(100, 100), Roi { x: 0, y: 90, width: 20, height: 10 });
        assert_eq!(v.shifted_inside(100, 100), View { x: 0.0, y: 80.0, width: 40.0, height: 20.0 });
        let large = View { x: 3.0, y: 0.0, width: 140.0, height: 20.0 };
        assert_eq!(large.shifted_inside(100, 100).x, -20.0);
    }

    #[test]
    fn overlap_is_measured_as_intersection_over_union() {
        let a = Roi { x: 0, y: 0, width: 10, height: 10 };
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&Roi { x: 20, ..a }), 0.0);
        assert!((a.iou(&Roi { x: 5, ..a }) - 1.0 / 3.0).abs() < 1e-12);
    }
}
