//! Where a part lies: the pose from which a picture is most like a reference.
//!
//! Sums over a row are taken in single precision, eight at a time, those over rows in double precision.

use super::grey::{Grey, Moved, Pose};
use crate::frame::kernels::{Loop, vectorised};

/// Gauss-Newton steps at a level, at most.
const STEPS: usize = 12;
/// Steps shorter than this many pixels (at the reference's edge, for turns) are the last ones at the finest level, and
/// others at those before: what they leave is found at the next.
const SMALL: f64 = 0.03;
const SMALL_BEFORE: f64 = 0.3;
/// Degrees between the turns of the coarse search.
const TURN: f64 = 3.0;
/// Motions are looked for up to this share of a side, and this many degrees.
const SHIFT_MAX: f64 = 0.12;
const DEGREES_MAX: f64 = 9.0;
/// Overlaps smaller than this share of the reference say nothing.
const OVERLAP_MIN: f64 = 0.5;
/// A picture that varies by less, in grey levels, shows nothing.
const FLAT: f64 = 0.1;
/// Values that are summed side by side.
const LANES: usize = 8;

/// `N` terms of each place of a row. No closure: one that is asked for in two loops stays a function of its own, compiled
/// for the least of the processors.
trait Terms<const N: usize> {
    /// Those of place `i`; has to be `#[inline(always)]`.
    fn of(&self, i: usize) -> [f32; N];
}

/// Sums of terms over the places `0..count`.
#[expect(clippy::needless_range_loop, reason = "lanes become a register; an iterator over them need not")]
#[inline(always)]
fn sums<const N: usize>(count: usize, terms: &impl Terms<N>) -> [f64; N] {
    let mut lanes = [[0f32; LANES]; N];
    let whole = count / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            let terms = terms.of(at + lane);
            (0..N).for_each(|n| lanes[n][lane] += terms[n]);
        }
    }
    for at in whole..count {
        let terms = terms.of(at);
        (0..N).for_each(|n| lanes[n][0] += terms[n]);
    }
    lanes.map(|lanes| lanes.iter().map(|v| f64::from(*v)).sum())
}

/// Grey in the middle: values are about as far from it on both sides, and squares of what they have in common are not
/// summed.
const MIDDLE: f32 = 128.0;

/// Values of two rows, their squares and products.
struct Products<'a> {
    moved: &'a [f32],
    reference: &'a [f32],
}

impl Terms<5> for Products<'_> {
    #[inline(always)]
    fn of(&self, i: usize) -> [f32; 5] {
        let (m, r) = (self.moved[i] - MIDDLE, self.reference[i] - MIDDLE);
        [m, r, m * m, r * r, m * r]
    }
}

/// Three rows of either picture, a column more to the left and to the right than places.
struct Slopes<'a> {
    moved: [&'a [f32]; 3],
    reference: [&'a [f32]; 3],
    /// One over each picture's deviation, and what makes their means the same.
    by: [f32; 2],
    offset: f32,
    /// The first place's column and the row, from the middle.
    from: [f32; 2],
}

impl Terms<9> for Slopes<'_> {
    /// Products of the three slopes with each other, and with the difference.
    #[inline(always)]
    fn of(&self, i: usize) -> [f32; 9] {
        let (m, r, [by_m, by_r]) = (&self.moved, &self.reference, self.by);
        // Half of each picture's central difference.
        let x = ((m[1][i + 2] - m[1][i]) * by_m + (r[1][i + 2] - r[1][i]) * by_r) / 4.0;
        let y = ((m[2][i + 1] - m[0][i + 1]) * by_m + (r[2][i + 1] - r[0][i + 1]) * by_r) / 4.0;
        let turn = y * (self.from[0] + i as f32) - x * self.from[1];
        let error = r[1][i + 1] * by_r - m[1][i + 1] * by_m + self.offset;
        [x * x, x * y, x * turn, y * y, y * turn, turn * turn, x * error, y * error, turn * error]
    }
}

/// Count, means and deviations of a picture and a reference where both are.
struct Overlap {
    count: f64,
    mean: [f64; 2],
    std: [f64; 2],
    correlation: f64,
}

impl Overlap {
    /// Of a picture that reaches `beyond` the reference on each side, shifted by so many columns and rows.
    #[inline(always)]
    fn of(moved: &Moved, beyond: [usize; 2], shift: [i32; 2], reference: &Grey) -> Option<Self> {
        let (mut n, mut all) = (0.0, [0.0; 5]);
        let [left, top] = [0, 1].map(|i| (beyond[i] as i32 + shift[i]) as usize);
        for y in 0..reference.height {
            let (first, values) = moved.row(y + top);
            // Columns of the reference that have a value.
            let (from, to) = (first.max(left), (first + values.len()).min(left + reference.width));
            let Some(count) = to.checked_sub(from) else { continue };
            let (m, r) = (&values[from - first..][..count], &reference.row(y)[from - left..][..count]);
            n += count as f64;
            let row = sums(count, &Products { moved: m, reference: r });
            all.iter_mut().zip(row).for_each(|(sum, row)| *sum += row);
        }
        if n < OVERLAP_MIN * reference.values.len() as f64 {
            return None;
        }
        let [m, r, mm, rr, mr] = all.map(|sum| sum / n);
        let std = [mm - m * m, rr - r * r].map(|square| square.max(0.0).sqrt());
        if std.iter().any(|s| *s < FLAT) {
            return None;
        }
        let correlation = (mr - m * r) / (std[0] * std[1]);
        Some(Self { count: n, mean: [m, r].map(|mean| mean + f64::from(MIDDLE)), std, correlation })
    }

    #[inline(always)]
    fn in_place(moved: &Moved, reference: &Grey) -> Option<Self> {
        Self::of(moved, [0, 0], [0, 0], reference)
    }
}

/// One Gauss-Newton step towards `reference`: shift and turn in the moved picture's directions; `None` where the pictures
/// do not say.
#[inline(always)]
fn step(moved: &Moved, reference: &Grey, o: &Overlap) -> Option<[f64; 3]> {
    let (w, h) = (reference.width, reference.height);
    let (mut hessian, mut gradient) = ([[0.0; 3]; 3], [0.0; 3]);
    let by = o.std.map(|std| (1.0 / std) as f32);
    let offset = (o.mean[0] / o.std[0] - o.mean[1] / o.std[1]) as f32;
    for y in 1..h - 1 {
        let (first, end, around) = moved.inner(y);
        let reach = first - 1..end + 1;
        let from = [(first, w), (y, h)].map(|(at, side)| (at as f64 + 0.5 - side as f64 / 2.0) as f32);
        let slopes = Slopes {
            moved: around.map(|row| &row[reach.clone()]),
            reference: [y - 1, y, y + 1].map(|y| &reference.row(y)[reach.clone()]),
            by,
            offset,
            from,
        };
        let row = sums(end - first, &slopes);
        let [a, b, c, d, e, f, gradients @ ..] = row;
        let squares = [[a, b, c], [b, d, e], [c, e, f]];
        gradient.iter_mut().zip(gradients).for_each(|(sum, row)| *sum += row);
        hessian.as_flattened_mut().iter_mut().zip(squares.as_flattened()).for_each(|(sum, row)| *sum += row);
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

/// Correlation of `frame`, taken from `pose`, with `reference`; -1 where they hardly overlap.
#[inline(always)]
pub(super) fn correlation(reference: &Grey, frame: &Grey, pose: Pose, moved: &mut Moved) -> f64 {
    frame.moved(pose, [0, 0], moved);
    Overlap::in_place(moved, reference).map_or(-1.0, |o| o.correlation)
}

/// The pose of most correlation among whole shifts and turns of [`TURN`].
#[inline(always)]
fn coarse(reference: &Grey, frame: &Grey, moved: &mut Moved) -> (Pose, f64) {
    let reach = |side: usize| (SHIFT_MAX * side as f64).ceil() as i32;
    let (rx, ry) = (reach(reference.width), reach(reference.height));
    let turns = (DEGREES_MAX / TURN).floor() as i32;
    let mut best = (Pose::default(), f64::MIN);
    for turn in -turns..=turns {
        let turned = Pose { turn: (f64::from(turn) * TURN).to_radians(), ..Pose::default() };
        // Turned once, and shifted in its own directions.
        let beyond = [rx as usize, ry as usize];
        frame.moved(turned, beyond, moved);
        for (y, x) in (-ry..=ry).flat_map(|y| (-rx..=rx).map(move |x| (y, x))) {
            let found = Overlap::of(moved, beyond, [x, y], reference).map_or(-1.0, |o| o.correlation);
            if found > best.1 {
                best = (turned.then([x.into(), y.into(), 0.0]), found);
            }
        }
    }
    best
}

/// Steps from a pose to the one of most correlation near it; the correlation is that of the last pose but one, which is
/// hardly another.
#[inline(always)]
fn refine(reference: &Grey, frame: &Grey, mut pose: Pose, small: f64, moved: &mut Moved) -> (Pose, f64) {
    let edge = reference.width.max(reference.height) as f64 / 2.0;
    let mut found = -1.0;
    for _ in 0..STEPS {
        frame.moved(pose, [0, 0], moved);
        let Some(overlap) = Overlap::in_place(moved, reference) else { break };
        found = overlap.correlation;
        let Some([x, y, turn]) = step(moved, reference, &overlap) else { break };
        pose = pose.then([x, y, turn]);
        if x.hypot(y).max(turn.abs() * edge) < small {
            break;
        }
    }
    (pose, found)
}

/// The pose of most correlation, from coarse to fine, and the correlation there.
struct Search<'a> {
    reference: &'a [Grey],
    frame: &'a [Grey],
    moved: &'a mut Moved,
}

impl Loop for Search<'_> {
    type Out = (Pose, f64);

    #[inline(always)]
    fn run(self) -> Self::Out {
        let Self { reference, frame, moved } = self;
        let last = reference.len() - 1;
        let (mut pose, mut found) = coarse(&reference[last], &frame[last], moved);
        for level in (0..last).rev() {
            let small = if level == 0 { SMALL } else { SMALL_BEFORE };
            (pose, found) = refine(&reference[level], &frame[level], pose.doubled(), small, moved);
            // A part in its place is not lost where the search goes astray; asked where that costs little.
            if level == 1 && found < correlation(&reference[1], &frame[1], Pose::default(), moved) {
                (pose, found) = refine(&reference[1], &frame[1], Pose::default(), small, moved);
            }
        }
        let is_near = pose.x.abs() <= 1.5 * SHIFT_MAX * reference[0].width as f64
            && pose.y.abs() <= 1.5 * SHIFT_MAX * reference[0].height as f64
            && pose.turn.to_degrees().abs() <= 1.5 * DEGREES_MAX;
        if is_near { (pose, found) } else { (Pose::default(), -1.0) }
    }
}

/// The pose from which `frame` is most like `reference`, both with their halves, and the correlation there; -1 where there
/// is none.
pub(super) fn search(reference: &[Grey], frame: &[Grey], moved: &mut Moved) -> (Pose, f64) {
    vectorised(Search { reference, frame, moved })
}
