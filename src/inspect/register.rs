//! Registration: a part that lies shifted or turned is brought to where the parts lay that were taught.
//!
//! The mean good part, some hundred pixels wide, is compared with each frame: a coarse search over shifts and turns at a
//! quarter of the size, then Gauss-Newton on the squared difference at half and at full size (Lucas and Kanade 1981; the
//! gradient is the mean of both pictures', Benhimane and Malis 2004). Both pictures are brought to mean 0 and deviation 1
//! wherever they overlap, so that light does not matter. What comes out counts only above a smallest correlation;
//! otherwise the part is inspected as it lies, and what is unlike its place there is suspicious.

use serde::{Deserialize, Serialize};

use super::preprocess::{self, sample};
use crate::frame::Frame;
use crate::frame::geometry::View;
use crate::frame::motion::Motion;

/// Longer side of the reference, pixels.
///
/// A pixel of it is 7 of a frame that is 1,280 wide; parts of the simulated belt come to rest within a tenth of a pixel of
/// that frame, with half the size within one.
const SIDE: usize = 192;
/// The longer side of the coarsest picture, which is searched, is from this to twice as many pixels; each level before is
/// twice as large as the next.
const COARSE: usize = 24;
/// Levels of a reference of [`SIDE`].
const LEVELS: usize = levels(SIDE);
/// Gauss-Newton steps at a level, at most.
const STEPS: usize = 12;
/// Steps shorter than this many pixels (at the reference's edge, for turns) are the last ones.
const SMALL: f64 = 0.01;
/// Degrees between the turns of the coarse search.
const TURN: f64 = 3.0;
/// Motions are looked for up to this share of a side, and this many degrees.
const SHIFT_MAX: f64 = 0.12;
const DEGREES_MAX: f64 = 9.0;
/// Overlaps smaller than this share of the reference say nothing.
const OVERLAP_MIN: f64 = 0.5;

/// What parts are brought into line with; part of the recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// Columns of the reference.
    pub width: usize,
    /// Rows of it.
    pub height: usize,
    /// The mean good part's whole view, `[height, width]` grey levels.
    pub reference: Vec<u8>,
    /// The least correlation with the reference at which a motion counts, -1 to 1.
    pub correlation_min: f32,
}

/// A part's place, found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Placed {
    /// Brings the frame's part to the reference's place.
    correction: Motion,
    /// Correlation with the reference there, -1 to 1.
    correlation: f32,
}

/// Buffers that a thread keeps.
#[derive(Default)]
pub struct Scratch {
    sampling: preprocess::Scratch,
    rgb: Vec<u8>,
    frame: Vec<Grey>,
    moved: Vec<Option<f32>>,
}

/// A grey picture of floats.
#[derive(Clone, Debug, Default)]
pub struct Grey {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

/// A turn about the middle and a shift that say where each pixel is taken from.
#[derive(Clone, Copy, Debug, Default)]
struct Pose {
    x: f64,
    y: f64,
    turn: f64,
}

impl Pose {
    /// The pose of the same motion on a picture of twice the size.
    fn doubled(self) -> Self {
        Self { x: 2.0 * self.x, y: 2.0 * self.y, ..self }
    }

    /// After a further step in the moved picture's own directions.
    fn then(self, [x, y, turn]: [f64; 3]) -> Self {
        let (sin, cos) = self.turn.sin_cos();
        Self { x: self.x + cos * x - sin * y, y: self.y + sin * x + cos * y, turn: self.turn + turn }
    }
}

impl Grey {
    /// The whole view of a frame, `SIDE` pixels along its longer side.
    pub fn of(frame: &Frame, scratch: &mut Scratch) -> Self {
        let mut grey = Self::default();
        grey.fill(frame, size(frame), &mut scratch.sampling, &mut scratch.rgb);
        grey
    }

    fn fill(&mut self, frame: &Frame, [w, h]: [usize; 2], sampling: &mut preprocess::Scratch, rgb: &mut Vec<u8>) {
        rgb.resize(3 * w * h, 0);
        sample(frame, &View::whole(frame.width, frame.height), w, h, rgb, sampling);
        let (red, rest) = rgb.split_at(w * h);
        let (green, blue) = rest.split_at(w * h);
        (self.width, self.height) = (w, h);
        self.values.clear();
        let sums = red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| f32::from(r) + f32::from(g) + f32::from(b));
        self.values.extend(sums.map(|sum| sum / 3.0));
    }

    /// Half the size, means of 2x2.
    fn halve_into(&self, half: &mut Self) {
        (half.width, half.height) = (self.width / 2, self.height / 2);
        half.values.clear();
        for y in 0..half.height {
            let row = |y: usize| &self.values[y * self.width..];
            let (above, below) = (row(2 * y), row(2 * y + 1));
            half.values.extend(
                (0..half.width).map(|x| (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]) / 4.0),
            );
        }
    }

    /// The value at (x, y), bilinear between pixel centres; `None` beyond them.
    fn at(&self, x: f64, y: f64) -> Option<f32> {
        let (last_x, last_y) = ((self.width - 1) as f64, (self.height - 1) as f64);
        if !(0.0..=last_x).contains(&x) || !(0.0..=last_y).contains(&y) {
            return None;
        }
        let (ix, iy) = ((x as usize).min(self.width - 2), (y as usize).min(self.height - 2));
        let (fx, fy) = ((x - ix as f64) as f32, (y - iy as f64) as f32);
        let row = |y: usize| {
            let at = y * self.width + ix;
            self.values[at] * (1.0 - fx) + self.values[at + 1] * fx
        };
        Some(row(iy) * (1.0 - fy) + row(iy + 1) * fy)
    }

    /// This picture taken from `pose`, where that lies inside it.
    fn moved(&self, pose: Pose, out: &mut Vec<Option<f32>>) {
        let (cx, cy) = (self.width as f64 / 2.0, self.height as f64 / 2.0);
        let (sin, cos) = pose.turn.sin_cos();
        out.clear();
        for y in 0..self.height {
            let v = y as f64 + 0.5 - cy;
            out.extend((0..self.width).map(|x| {
                let u = x as f64 + 0.5 - cx;
                self.at(cos * u - sin * v + pose.x + cx - 0.5, sin * u + cos * v + pose.y + cy - 0.5)
            }));
        }
    }
}

/// Levels of a pyramid whose finest picture has this longer side.
const fn levels(side: usize) -> usize {
    let mut count = 1;
    while side >> count >= COARSE {
        count += 1;
    }
    count
}

/// Columns and rows of a frame's reference: multiples of what the pyramid divides by.
fn size(frame: &Frame) -> [usize; 2] {
    let longer = f64::from(frame.width.max(frame.height));
    let unit = 1 << (LEVELS - 1);
    let side = |length: u32| ((f64::from(length) / longer * SIDE as f64 / unit as f64).round() as usize).max(2) * unit;
    [side(frame.width), side(frame.height)]
}

/// Count, means and deviations of a picture and a reference where both are.
struct Overlap {
    count: f64,
    mean: [f64; 2],
    std: [f64; 2],
    correlation: f64,
}

impl Overlap {
    fn of(moved: &[Option<f32>], reference: &[f32]) -> Option<Self> {
        let (mut n, mut sums, mut squares, mut product) = (0.0, [0.0; 2], [0.0; 2], 0.0);
        for (m, &r) in moved.iter().zip(reference) {
            let Some(m) = m else { continue };
            let (m, r) = (f64::from(*m), f64::from(r));
            n += 1.0;
            sums = [sums[0] + m, sums[1] + r];
            squares = [squares[0] + m * m, squares[1] + r * r];
            product += m * r;
        }
        if n < OVERLAP_MIN * reference.len() as f64 {
            return None;
        }
        let mean = sums.map(|s| s / n);
        let std: [f64; 2] = std::array::from_fn(|i| (squares[i] / n - mean[i] * mean[i]).max(0.0).sqrt());
        if std.iter().any(|s| *s < 1e-3) {
            return None;
        }
        let correlation = (product / n - mean[0] * mean[1]) / (std[0] * std[1]);
        Some(Self { count: n, mean, std, correlation })
    }
}

/// One Gauss-Newton step towards `reference`: shift and turn in the moved picture's directions; `None` where the pictures
/// do not say.
fn step(moved: &[Option<f32>], reference: &Grey) -> Option<[f64; 3]> {
    let (w, h) = (reference.width, reference.height);
    let o = Overlap::of(moved, &reference.values)?;
    let (mut hessian, mut gradient) = ([[0.0; 3]; 3], [0.0; 3]);
    for y in 1..h - 1 {
        for x in 1..w - 1 {
            let i = y * w + x;
            let near = [moved[i], moved[i - 1], moved[i + 1], moved[i - w], moved[i + w]];
            let [Some(m), Some(left), Some(right), Some(above), Some(below)] = near else { continue };
            let r = &reference.values;
            let of = |m: f32, r: f32| f64::from(m) / o.std[0] + f64::from(r) / o.std[1];
            // Half of each picture's central difference.
            let gx = of(right - left, r[i + 1] - r[i - 1]) / 4.0;
            let gy = of(below - above, r[i + w] - r[i - w]) / 4.0;
            let (u, v) = (x as f64 + 0.5 - w as f64 / 2.0, y as f64 + 0.5 - h as f64 / 2.0);
            let error = (f64::from(r[i]) - o.mean[1]) / o.std[1] - (f64::from(m) - o.mean[0]) / o.std[0];
            let j = [gx, gy, gy * u - gx * v];
            for a in 0..3 {
                gradient[a] += j[a] * error;
                (0..3).for_each(|b| hessian[a][b] += j[a] * j[b]);
            }
        }
    }
    // A little of the mean curvature keeps what a picture does not show (the turn of a disc) where it is.
    let least = 1e-3 * o.count;
    hessian[0][0] += least;
    hessian[1][1] += least;
    hessian[2][2] += least * (w * w + h * h) as f64 / 12.0;
    solve(hessian, gradient)
}

/// Cramer's rule for three unknowns.
fn solve(m: [[f64; 3]; 3], v: [f64; 3]) -> Option<[f64; 3]> {
    let det = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(m);
    let with = |column: usize| {
        let mut m = m;
        (0..3).for_each(|row| m[row][column] = v[row]);
        det(m) / whole
    };
    let x = [with(0), with(1), with(2)];
    x.iter().all(|v| v.is_finite()).then_some(x)
}

impl Registration {
    /// With a mean good part; a motion counts from `correlation_min` on.
    pub fn new(mean: &Grey, correlation_min: f32) -> Self {
        let reference = mean.values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        Self { width: mean.width, height: mean.height, reference, correlation_min }
    }

    /// Whether the sizes are ones that can be searched.
    pub fn is_sound(&self) -> bool {
        let unit = 1 << (levels(self.width.max(self.height)) - 1);
        let is_side = |side: usize| (2 * unit..=2 * SIDE).contains(&side) && side.is_multiple_of(unit);
        is_side(self.width) && is_side(self.height) && self.reference.len() == self.width * self.height
    }

    /// The reference and its halves, finest first.
    fn pyramid(&self) -> Vec<Grey> {
        let values = self.reference.iter().map(|&v| f32::from(v)).collect();
        pyramid(Grey { width: self.width, height: self.height, values })
    }

    /// Where the part in `frame` lies; `reference` is [`Registration::pyramid`].
    ///
    /// Cost: one read of the frame, and 2 ms. Allocates only while `scratch` grows.
    fn place(&self, reference: &[Grey], frame: &Frame, scratch: &mut Scratch) -> Placed {
        let Scratch { sampling, rgb, frame: levels, moved } = scratch;
        levels.resize_with(reference.len(), Grey::default);
        levels[0].fill(frame, [self.width, self.height], sampling, rgb);
        for level in 1..reference.len() {
            let (fine, coarse) = levels.split_at_mut(level);
            fine[level - 1].halve_into(&mut coarse[0]);
        }
        let found = search(reference, levels, moved);
        let still = correlation(&reference[0], &levels[0], Pose::default(), moved);
        let (pose, found) = if found.1 > still { found } else { (Pose::default(), still) };
        // Taken from a pose is moved by its inverse; the reference's pixels are frame pixels so many times as large.
        let (sx, sy) = (f64::from(frame.width) / self.width as f64, f64::from(frame.height) / self.height as f64);
        let lies = Motion { dx: pose.x * sx, dy: pose.y * sy, degrees: pose.turn.to_degrees() };
        Placed { correction: lies.inverse(), correlation: found as f32 }
    }

    /// Whether a place is believed.
    fn is_trusted(&self, placed: &Placed) -> bool {
        placed.correlation >= self.correlation_min
    }
}

/// A registration ready to be used by threads.
#[derive(Clone, Debug)]
pub struct Aligner {
    registration: Registration,
    reference: Vec<Grey>,
}

impl Aligner {
    /// Prepares the reference.
    pub fn new(registration: Registration) -> Self {
        let reference = registration.pyramid();
        Self { registration, reference }
    }

    /// What it was made of.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The motion that brings the part in `frame` to its place; [`Motion::NONE`] where it is not believed.
    ///
    /// Cost: one read of the frame, and 2 ms. Allocates only while `scratch` grows.
    pub fn find(&self, frame: &Frame, scratch: &mut Scratch) -> Motion {
        let placed = self.registration.place(&self.reference, frame, scratch);
        if self.registration.is_trusted(&placed) { placed.correction } else { Motion::NONE }
    }
}

/// A picture and its halves, finest first.
fn pyramid(finest: Grey) -> Vec<Grey> {
    let mut levels = vec![finest];
    let count = self::levels(levels[0].width.max(levels[0].height));
    while levels.len() < count {
        let mut half = Grey::default();
        levels[levels.len() - 1].halve_into(&mut half);
        levels.push(half);
    }
    levels
}

fn correlation(reference: &Grey, frame: &Grey, pose: Pose, moved: &mut Vec<Option<f32>>) -> f64 {
    frame.moved(pose, moved);
    Overlap::of(moved, &reference.values).map_or(-1.0, |o| o.correlation)
}

/// The pose of most correlation, from coarse to fine.
fn search(reference: &[Grey], frame: &[Grey], moved: &mut Vec<Option<f32>>) -> (Pose, f64) {
    let coarse = reference.len() - 1;
    let reach = |side: usize| (SHIFT_MAX * side as f64).ceil() as i32;
    let (rx, ry) = (reach(reference[coarse].width), reach(reference[coarse].height));
    let turns = (DEGREES_MAX / TURN).floor() as i32;
    let mut best = (Pose::default(), f64::MIN);
    for turn in -turns..=turns {
        for (y, x) in (-ry..=ry).flat_map(|y| (-rx..=rx).map(move |x| (y, x))) {
            let pose = Pose { x: x.into(), y: y.into(), turn: (f64::from(turn) * TURN).to_radians() };
            let found = correlation(&reference[coarse], &frame[coarse], pose, moved);
            if found > best.1 {
                best = (pose, found);
            }
        }
    }
    let mut pose = best.0;
    for level in (0..coarse).rev() {
        pose = pose.doubled();
        let (reference, frame) = (&reference[level], &frame[level]);
        let edge = reference.width.max(reference.height) as f64 / 2.0;
        for _ in 0..STEPS {
            frame.moved(pose, moved);
            let Some([x, y, turn]) = step(moved, reference) else { break };
            pose = pose.then([x, y, turn]);
            if x.hypot(y).max(turn.abs() * edge) < SMALL {
                break;
            }
        }
    }
    let is_near = pose.x.abs() <= 1.5 * SHIFT_MAX * reference[0].width as f64
        && pose.y.abs() <= 1.5 * SHIFT_MAX * reference[0].height as f64
        && pose.turn.to_degrees().abs() <= 1.5 * DEGREES_MAX;
    let found = if is_near { correlation(&reference[0], &frame[0], pose, moved) } else { -1.0 };
    (pose, found)
}

/// The pictures of the first one's size; `None` where all together are fewer than two.
fn of_one_size(pictures: &[Grey]) -> Option<Vec<&Grey>> {
    let first = pictures.first().filter(|_| pictures.len() > 1)?;
    Some(pictures.iter().filter(|p| (p.width, p.height) == (first.width, first.height)).collect())
}

/// The correlation of each picture with the mean of all, as they lie; `None` where they are fewer than two.
pub fn as_they_lie(pictures: &[Grey]) -> Option<Vec<f32>> {
    let same = of_one_size(pictures)?;
    let share = 1.0 / same.len() as f32;
    let mut mean = Grey { values: vec![0.0; same[0].values.len()], ..*same[0] };
    for picture in &same {
        mean.values.iter_mut().zip(&picture.values).for_each(|(m, v)| *m += share * v);
    }
    let mut moved = Vec::new();
    Some(same.iter().map(|p| correlation(&mean, p, Pose::default(), &mut moved) as f32).collect())
}

/// The mean of pictures brought into line with each other, and each one's correlation with it.
///
/// Starts from the picture that is most like the others as they lie, and takes the mean twice. `None` where pictures are
/// fewer than two.
pub fn mean_of(pictures: &[Grey]) -> Option<(Grey, Vec<f32>)> {
    let same = of_one_size(pictures)?;
    let mut moved = Vec::new();
    let likeness = |i: usize, moved: &mut Vec<Option<f32>>| -> f64 {
        same.iter().take(24).map(|p| correlation(same[i], p, Pose::default(), moved)).sum()
    };
    let scores: Vec<f64> = (0..same.len().min(24)).map(|i| likeness(i, &mut moved)).collect();
    let start = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))?;
    let mut mean = same[start].clone();
    let levels: Vec<Vec<Grey>> = same.iter().map(|p| pyramid((*p).clone())).collect();
    let mut correlations = Vec::new();
    for _ in 0..2 {
        let reference = pyramid(mean.clone());
        let mut sums = vec![[0.0f32; 2]; mean.values.len()];
        correlations.clear();
        for levels in &levels {
            let (pose, found) = search(&reference, levels, &mut moved);
            correlations.push(found as f32);
            levels[0].moved(pose, &mut moved);
            for (sum, value) in sums.iter_mut().zip(&moved) {
                if let Some(v) = value {
                    *sum = [sum[0] + v, sum[1] + 1.0];
                }
            }
        }
        let values = sums.iter().zip(&mean.values).map(|(s, old)| if s[1] > 0.0 { s[0] / s[1] } else { *old });
        mean.values = values.collect();
    }
    Some((mean, correlations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::motion::warped;

    /// A plate with holes on a dark ground, with a gradient of light.
    fn part(width: u32, height: u32) -> Frame {
        let value = |x: u32, y: u32| {
            let (u, v) = (f64::from(x) / f64::from(width) - 0.5, f64::from(y) / f64::from(height) - 0.5);
            let hole = |cx: f64, cy: f64, r: f64| (u - cx).hypot(v - cy) < r;
            if hole(-0.2, -0.1, 0.06) || hole(0.15, 0.2, 0.09) {
                20.0
            } else if u.abs() < 0.34 && v.abs() < 0.3 {
                150.0 + 60.0 * u + 20.0 * (17.0 * v).sin()
            } else {
                30.0
            }
        };
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Frame::still(width, height, pixels.flat_map(|(x, y)| [value(x, y) as u8; 3]).collect::<Vec<u8>>())
    }

    fn registration(frame: &Frame) -> Registration {
        Registration::new(&Grey::of(frame, &mut Scratch::default()), 0.5)
    }

    #[test]
    fn shifts_and_turns_are_found_to_a_fraction_of_a_pixel() {
        let frame = part(320, 256);
        let r = registration(&frame);
        assert!(r.is_sound());
        let (pyramid, mut scratch) = (r.pyramid(), Scratch::default());
        for (dx, dy, degrees) in [
            (0.0, 0.0, 0.0),
            (5.0, -3.0, 0.0),
            (0.0, 0.0, 4.0),
            (-21.0, 13.0, -3.0),
            (30.0, 20.0, 7.5),
            (2.5, 0.7, 1.1),
        ] {
            let lies = Motion { dx, dy, degrees };
            let placed = r.place(&pyramid, &warped(&frame, &lies), &mut scratch);
            assert!(placed.correlation > 0.97, "{placed:?} for {lies:?}");
            // Where a corner of the plate comes back to.
            for corner in [(60.0, 60.0), (260.0, 60.0), (160.0, 200.0)] {
                let there = lies.point(corner, 320.0, 256.0);
                let (x, y) = placed.correction.point(there, 320.0, 256.0);
                assert!((x - corner.0).hypot(y - corner.1) < 1.0, "{corner:?} to ({x}, {y}) for {lies:?}: {placed:?}");
            }
        }
    }

    #[test]
    fn light_does_not_matter_and_another_product_is_not_trusted() {
        let frame = part(320, 256);
        let r = registration(&frame);
        let (pyramid, mut scratch) = (r.pyramid(), Scratch::default());
        let lies = Motion { dx: 12.0, dy: 6.0, degrees: 2.0 };
        let dark: Vec<u8> = warped(&frame, &lies).rgb.iter().map(|&v| v / 3 + 40).collect();
        let placed = r.place(&pyramid, &Frame::still(320, 256, dark), &mut scratch);
        assert!(r.is_trusted(&placed), "{placed:?}");
        assert!((placed.correction.degrees + 2.0).abs() < 0.2, "{placed:?}");
        let stripes: Vec<u8> = (0..320 * 256).flat_map(|i| [if i / 320 / 9 % 2 == 0 { 200 } else { 60 }; 3]).collect();
        for other in [stripes, vec![90; 320 * 256 * 3]] {
            let placed = r.place(&pyramid, &Frame::still(320, 256, other), &mut scratch);
            assert!(!r.is_trusted(&placed) && placed.correction.dx.is_finite(), "{placed:?}");
        }
    }

    #[test]
    fn the_mean_of_moved_parts_is_the_part() {
        let frame = part(240, 240);
        let mut scratch = Scratch::default();
        let motions = [(0.0, 0.0, 0.0), (8.0, 3.0, 2.0), (-6.0, 5.0, -3.0), (3.0, -9.0, 1.0), (-4.0, -2.0, 4.0)];
        let pictures: Vec<Grey> = motions
            .iter()
            .map(|&(dx, dy, degrees)| Grey::of(&warped(&frame, &Motion { dx, dy, degrees }), &mut scratch))
            .collect();
        let (_, correlations) = mean_of(&pictures).unwrap();
        assert!(correlations.iter().all(|c| *c > 0.97), "{correlations:?}");
        assert!(mean_of(&pictures[..1]).is_none());
    }
}
