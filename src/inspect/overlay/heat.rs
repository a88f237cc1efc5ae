//! Heatmaps laid over pictures: sampling, colours, contour.

use image::{Rgb, RgbImage};

use crate::frame::geometry::View;

/// An anomaly map to be laid over the frame.
#[derive(Clone, Copy, Debug)]
pub struct Heat<'a> {
    /// `[height, width]` standardised values, row-major; what is not finite counts as 0.
    pub map: &'a [f32],
    /// Cells across.
    pub width: usize,
    /// Cells down.
    pub height: usize,
    /// What the map covers, in frame pixels; may reach beyond the frame.
    pub view: View,
}

impl Heat<'_> {
    /// The highest value; 0 if none is above it.
    pub(super) fn peak(&self) -> f32 {
        self.map.iter().copied().filter(|v| v.is_finite()).fold(0.0, f32::max)
    }

    /// The map at a point of the frame, interpolated between cell centres; `None` outside the view.
    fn at(&self, x: f64, y: f64) -> Option<f32> {
        let (u, v) = ((x - self.view.x) / self.view.width, (y - self.view.y) / self.view.height);
        if !(0.0..=1.0).contains(&u) || !(0.0..=1.0).contains(&v) {
            return None;
        }
        let cell = |t: f64, count: usize| {
            let t = (t * count as f64 - 0.5).clamp(0.0, (count - 1) as f64);
            let low = t as usize;
            (low, (low + 1).min(count - 1), (t - low as f64) as f32)
        };
        let ((left, right, fx), (top, bottom, fy)) = (cell(u, self.width), cell(v, self.height));
        let value = |row: usize, column: usize| {
            let v = self.map[row * self.width + column];
            if v.is_finite() { v } else { 0.0 }
        };
        let upper = value(top, left) * (1.0 - fx) + value(top, right) * fx;
        let lower = value(bottom, left) * (1.0 - fx) + value(bottom, right) * fx;
        Some(upper * (1.0 - fy) + lower * fy)
    }

    /// Lays the map over `picture`, which shows the part `shown` of the frame. Values towards 0 stay transparent, `hot`
    /// and more take the last colour; a light line surrounds what reaches [`CONTOUR`] of `hot`.
    ///
    /// # Panics
    /// If the map is not `width * height` values.
    pub(super) fn lay_over(&self, picture: &mut RgbImage, shown: View, hot: f32) {
        assert_eq!(self.map.len(), self.width * self.height, "heatmap of {}x{} cells", self.width, self.height);
        let (width, height) = picture.dimensions();
        if self.map.is_empty() || hot <= 0.0 {
            return;
        }
        let heat: Vec<f32> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| {
                let fx = shown.x + (f64::from(x) + 0.5) * shown.width / f64::from(width);
                let fy = shown.y + (f64::from(y) + 0.5) * shown.height / f64::from(height);
                self.at(fx, fy).map_or(0.0, |v| v / hot)
            })
            .collect();
        let is_hot = |x: u32, y: u32| heat[(y * width + x) as usize] >= CONTOUR;
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let t = heat[(y * width + x) as usize];
            let is_surrounded = is_hot(x.saturating_sub(1), y)
                && is_hot((x + 1).min(width - 1), y)
                && is_hot(x, y.saturating_sub(1))
                && is_hot(x, (y + 1).min(height - 1));
            let rim = is_hot(x, y) && !is_surrounded;
            if rim {
                *pixel = Rgb([255, 255, 255]);
            } else {
                *pixel = blend(*pixel, colour(t), opacity(t));
            }
        }
    }
}

/// Share of the last colour's value at which the contour runs: the threshold, see [`super::draw`].
const CONTOUR: f32 = 0.5;

/// How much of the colour covers the picture at a share `t` of the last colour's value: nothing below 0.25.
pub(super) fn opacity(t: f32) -> f32 {
    0.5 * ((t - 0.25) / 0.35).clamp(0.0, 1.0)
}

/// The Inferno colour map (Smith and van der Walt, 2015, CC0) at `t` in 0..=1, between nine of its colours: its
/// lightness rises evenly, so that it reads in grey and to colour-blind eyes too.
pub(super) fn colour(t: f32) -> Rgb<u8> {
    const STOPS: [[u8; 3]; 9] = [
        [0, 0, 4],
        [31, 12, 72],
        [85, 15, 109],
        [136, 34, 106],
        [186, 54, 85],
        [227, 89, 51],
        [249, 140, 10],
        [249, 201, 50],
        [252, 255, 164],
    ];
    let t = t.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let low = (t as usize).min(STOPS.len() - 2);
    blend(Rgb(STOPS[low]), Rgb(STOPS[low + 1]), t - low as f32)
}

/// `under` covered by `over` to the share `opacity`.
pub(super) fn blend(under: Rgb<u8>, over: Rgb<u8>, opacity: f32) -> Rgb<u8> {
    let mix = |c: usize| f32::from(under[c]) * (1.0 - opacity) + f32::from(over[c]) * opacity + 0.5;
    Rgb([mix(0) as u8, mix(1) as u8, mix(2) as u8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View = View { x: -10.0, y: 0.0, width: 40.0, height: 20.0 };

    #[test]
    fn a_map_is_read_in_frame_coordinates() {
        let map = [0.0, 4.0, f32::NAN, 8.0];
        let heat = Heat { map: &map, width: 2, height: 2, view: VIEW };
        // Cell centres lie at x = 0 and 20, y = 5 and 15.
        assert_eq!(heat.at(0.0, 5.0), Some(0.0));
        assert_eq!(heat.at(20.0, 5.0), Some(4.0));
        assert_eq!(heat.at(10.0, 5.0), Some(2.0));
        assert_eq!(heat.at(20.0, 15.0), Some(8.0));
        assert_eq!(heat.at(0.0, 15.0), Some(0.0), "a value that is not a number is quiet");
        assert_eq!(heat.at(30.5, 5.0), None);
        assert_eq!(heat.peak(), 8.0);
    }

    #[test]
    fn quiet_values_leave_the_picture_alone_and_hot_ones_do_not() {
        let grey = RgbImage::from_pixel(40, 20, Rgb([90, 90, 90]));
        let shown = View { x: 0.0, y: 0.0, width: 40.0, height: 20.0 };
        let mut map = [1.0f32; 8];
        let mut quiet = grey.clone();
        Heat { map: &map, width: 4, height: 2, view: shown }.lay_over(&mut quiet, shown, 5.0);
        assert_eq!(quiet, grey);
        map[3] = 5.0;
        let mut hot = grey.clone();
        Heat { map: &map, width: 4, height: 2, view: shown }.lay_over(&mut hot, shown, 5.0);
        assert_eq!(hot.get_pixel(2, 15), grey.get_pixel(2, 15));
        let [r, g, b] = hot.get_pixel(38, 2).0;
        assert!(r > 150 && g > 150 && b < g, "the hottest corner is pale yellow, not {r} {g} {b}");
    }

    #[test]
    fn the_colours_grow_lighter() {
        let light = |t: f32| colour(t).0.iter().zip([77, 150, 29]).map(|(&c, w)| u32::from(c) * w).sum::<u32>();
        for i in 0..20 {
            assert!(light(i as f32 / 20.0) < light((i + 1) as f32 / 20.0));
        }
    }
}
