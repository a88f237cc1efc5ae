//! The product on the simulated belt: a machined cover plate, drawn as height, material and outline.
//!
//! Lengths are in the part plane: the origin is the part's centre, x goes right, y goes down, and 1.0 is the width of a
//! 5:4 frame. The atlas rasterises the plate once; each part is then a few lookups a pixel.

use super::texture::{mix, ramp, split};

/// Half extents of the plate, without its chamfer's run-out.
pub(super) const HALF: [f32; 2] = [0.335, 0.262];
/// Radius of the plate's corners.
const CORNER: f32 = 0.055;
/// Width of the chamfer along the outline.
const CHAMFER: f32 = 0.008;
/// Outer radius of the turned boss in the middle.
const BOSS: f32 = 0.118;
/// Radius of the through bore, and of the counterbore around it.
const BORE: f32 = 0.046;
const COUNTERBORE: f32 = 0.064;
/// The two cast pockets: capsules at x = ±POCKET_X.
const POCKET_X: f32 = 0.247;
const POCKET_HALF_LENGTH: f32 = 0.11;
const POCKET_RADIUS: f32 = 0.034;
/// Chamfer of the small holes.
const COUNTERSINK: f32 = 0.0045;
/// The peened code: its corner, its pitch and its dots along one side.
const CODE: [f32; 2] = [0.105, -0.232];
const CODE_PITCH: f32 = 0.0066;
const CODE_SIDE: usize = 9;

/// A through hole in the plate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) centre: [f32; 2],
    pub(super) radius: f32,
}

impl Hole {
    /// Diameter with the chamfer: what is missing to the eye when the hole is.
    pub(super) fn diameter(&self) -> f32 {
        2.0 * (self.radius + COUNTERSINK)
    }

    /// How far the hole's chamfer and shading reach from its centre.
    pub(super) fn reach(&self) -> f32 {
        self.radius + COUNTERSINK * 1.5
    }
}

/// Every hole that a drill can have missed, 2.5 to 4.3 % of the width across with its chamfer.
pub(super) const HOLES: [Hole; 12] = {
    const fn hole(x: f32, y: f32, radius: f32) -> Hole {
        Hole { centre: [x, y], radius }
    }
    [
        // The bolt circle: 6 at 60 degrees on radius 0.158.
        hole(0.158, 0.0, 0.0105),
        hole(0.079, 0.1368, 0.0105),
        hole(-0.079, 0.1368, 0.0105),
        hole(-0.158, 0.0, 0.0105),
        hole(-0.079, -0.1368, 0.0105),
        hole(0.079, -0.1368, 0.0105),
        // Mounting holes in the corners.
        hole(0.285, 0.212, 0.017),
        hole(-0.285, 0.212, 0.017),
        hole(-0.285, -0.212, 0.017),
        hole(0.285, -0.212, 0.017),
        // Dowel holes, asymmetric so that the plate fits one way only.
        hole(-0.165, -0.205, 0.008),
        hole(0.165, 0.205, 0.008),
    ]
};

/// What the camera sees of the plate at one point, as fractions unless noted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Surface {
    /// Share of the point that is plate rather than belt.
    pub(super) cover: f32,
    pub(super) albedo: f32,
    /// Slopes of the height along x and y.
    pub(super) slope: [f32; 2],
    /// Share of brushed or turned metal.
    pub(super) brush: f32,
    /// Share of that brushing which runs in circles around the bore.
    pub(super) turned: f32,
    /// Share of cast skin.
    pub(super) grain: f32,
    /// Shadow that the plate throws on the belt.
    pub(super) shadow: f32,
}

impl Surface {
    /// Beside the plate: belt in full light.
    pub(super) const BELT: Self =
        Self { cover: 0.0, albedo: 0.0, slope: [0.0; 2], brush: 0.0, turned: 0.0, grain: 0.0, shadow: 0.0 };
}

/// The plate before its slopes are known.
struct Relief {
    height: f32,
    cover: f32,
    albedo: f32,
    brush: f32,
    turned: f32,
    grain: f32,
}

fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// Signed distance to the plate's outline, negative inside.
pub(super) fn outline(x: f32, y: f32) -> f32 {
    let (dx, dy) = (x.abs() - HALF[0] + CORNER, y.abs() - HALF[1] + CORNER);
    length(dx.max(0.0), dy.max(0.0)) + dx.max(dy).min(0.0) - CORNER
}

fn pocket(x: f32, y: f32) -> f32 {
    let beyond = (y.abs() - POCKET_HALF_LENGTH).max(0.0);
    length(x.abs() - POCKET_X, beyond) - POCKET_RADIUS
}

/// Distance from a point of a machined face to the nearest feature; negative off the faces.
pub(super) fn clearance(x: f32, y: f32) -> f32 {
    let r = length(x, y);
    let mut free = -outline(x, y) - CHAMFER;
    free = free.min((r - BOSS).abs() - 0.006);
    free = free.min(r - COUNTERBORE - 0.004);
    free = free.min(pocket(x, y) - 0.008);
    let code_half = CODE_SIDE as f32 * CODE_PITCH * 0.5;
    let (cx, cy) = (x - CODE[0] - code_half, y - CODE[1] - code_half);
    free = free.min(cx.abs().max(cy.abs()) - code_half);
    HOLES.iter().fold(free, |free, h| free.min(length(x - h.centre[0], y - h.centre[1]) - h.radius - COUNTERSINK))
}

/// The plate at a point, drilled but for the hole `omitted`; `soft` is half the width of an outline's soft edge.
fn relief(x: f32, y: f32, omitted: Option<usize>, soft: f32) -> Relief {
    let d = outline(x, y);
    let mut cover = ramp(-d, -soft, soft);
    let mut height = -(d + CHAMFER).clamp(0.0, 1.6 * CHAMFER);
    // The chamfer is milled: smooth, and bright where it faces the lamp.
    let slanted = ramp(d + CHAMFER, -0.002, 0.002);
    let (mut albedo, mut brush, mut turned, mut grain) = (0.56 + 0.08 * slanted, 1.0 - 0.8 * slanted, 0.0, 0.0);

    let sunk = ramp(-pocket(x, y), -0.007, 0.007);
    height -= 0.013 * sunk;
    albedo += (0.37 - albedo) * sunk;
    brush *= 1.0 - sunk;
    grain += (1.0 - grain) * sunk;

    let r = length(x, y);
    let raised = ramp(BOSS - r, -0.004, 0.004);
    height += 0.009 * raised;
    albedo += 0.03 * raised;
    turned += raised;
    height -= 0.011 * ramp(COUNTERBORE - r, -0.003, 0.003);
    let bore = r - BORE;
    cover *= ramp(bore, -soft, soft);
    height -= (COUNTERSINK - bore).clamp(0.0, 1.5 * COUNTERSINK);

    for (i, hole) in HOLES.iter().enumerate() {
        if omitted == Some(i) {
            continue;
        }
        let d = length(x - hole.centre[0], y - hole.centre[1]) - hole.radius;
        if d < COUNTERSINK {
            cover *= ramp(d, -soft, soft);
            height -= (COUNTERSINK - d).clamp(0.0, 1.5 * COUNTERSINK);
            brush *= 0.35;
        }
    }
    height -= code_depth(x, y);
    Relief { height, cover, albedo, brush, turned, grain }
}

/// Depth of the peened code at a point: the same product code on every part.
fn code_depth(x: f32, y: f32) -> f32 {
    let (cx, cy) = ((x - CODE[0]) / CODE_PITCH, (y - CODE[1]) / CODE_PITCH);
    let side = CODE_SIDE as f32;
    if !(0.0..side).contains(&cx) || !(0.0..side).contains(&cy) {
        return 0.0;
    }
    let (column, row) = (cx as usize, cy as usize);
    // A finder edge left and below, as a Data Matrix has; the rest is a fixed pattern.
    let is_dot = column == 0 || row == CODE_SIDE - 1 || mix((row * CODE_SIDE + column) as u64) & 1 == 1;
    if !is_dot {
        return 0.0;
    }
    let (dx, dy) = (cx - column as f32 - 0.5, cy - row as f32 - 0.5);
    let inside = (1.0 - (dx * dx + dy * dy) / 0.16).max(0.0);
    0.0022 * inside * inside
}

/// A rectangle of the part plane, rasterised on the grid that all atlases of one scale share.
pub(super) struct Atlas {
    /// Texels a unit of the part plane.
    scale: f32,
    /// Grid position of the first texel.
    origin: [i32; 2],
    width: usize,
    height: usize,
    /// [`Surface`]s in the order of its fields.
    texels: Vec<[f32; 8]>,
}

impl Atlas {
    /// The whole plate with all its holes and its shadow.
    pub(super) fn plate(scale: f32) -> Self {
        // The margin holds the shadow and its blur.
        const MARGIN: f32 = 0.075;
        let mut atlas = Self::raster(scale, [0.0, 0.0], [HALF[0] + MARGIN, HALF[1] + MARGIN], None);
        atlas.cast_shadow();
        atlas
    }

    /// The surroundings of a hole without that hole; fits into the plate's atlas without a seam.
    pub(super) fn undrilled(scale: f32, hole: usize) -> Self {
        let Hole { centre, .. } = HOLES[hole];
        let reach = HOLES[hole].reach() + 4.0 / scale;
        Self::raster(scale, centre, [reach, reach], Some(hole))
    }

    fn raster(scale: f32, centre: [f32; 2], half: [f32; 2], omitted: Option<usize>) -> Self {
        let origin = [0, 1].map(|a| ((centre[a] - half[a]) * scale).floor() as i32);
        let [width, height] = [0, 1].map(|a| (2.0 * half[a] * scale).ceil() as usize + 1);
        let step = 1.0 / scale;
        // One texel more on each side, for the slopes.
        let stride = width + 2;
        let grid: Vec<Relief> = (0..stride * (height + 2))
            .map(|i| {
                let column = origin[0] + (i % stride) as i32 - 1;
                let row = origin[1] + (i / stride) as i32 - 1;
                relief(column as f32 * step, row as f32 * step, omitted, 0.7 * step)
            })
            .collect();
        let mut texels = Vec::with_capacity(width * height);
        for row in 1..=height {
            for column in 1..=width {
                let i = row * stride + column;
                let here = &grid[i];
                let slope = |ahead: usize, behind: usize| (grid[ahead].height - grid[behind].height) * 0.5 * scale;
                let (sx, sy) = (slope(i + 1, i - 1), slope(i + stride, i - stride));
                texels.push([here.cover, here.albedo, sx, sy, here.brush, here.turned, here.grain, 1.0]);
            }
        }
        Self { scale, origin, width, height, texels }
    }

    /// Fills the shadow channel: the cover, shifted away from the lamp and blurred.
    fn cast_shadow(&mut self) {
        const SHIFT: [f32; 2] = [0.009, 0.013];
        let radius = ((0.011 * self.scale) as usize).max(1);
        let [shift_x, shift_y] = SHIFT.map(|s| (s * self.scale) as usize);
        let (width, height) = (self.width, self.height);
        let mut shadow = vec![0.0f32; width * height];
        for y in shift_y..height {
            for x in shift_x..width {
                shadow[y * width + x] = self.texels[(y - shift_y) * width + x - shift_x][0];
            }
        }
        for _ in 0..2 {
            shadow = blurred_along(&shadow, width, height, radius);
            shadow = transposed(&shadow, width, height);
            shadow = blurred_along(&shadow, height, width, radius);
            shadow = transposed(&shadow, height, width);
        }
        self.texels.iter_mut().zip(shadow).for_each(|(t, s)| t[7] = s);
    }

    /// The surface at a point of the part plane; `None` outside the atlas. Interpolated, never allocates.
    #[inline]
    pub(super) fn at(&self, x: f32, y: f32) -> Option<Surface> {
        // Whole texels and the rest before the origin is taken off: so all atlases of one scale agree to the bit.
        let ((column, fx), (row, fy)) = (split(x * self.scale), split(y * self.scale));
        let (column, row) = (column - self.origin[0], row - self.origin[1]);
        if column < 0 || row < 0 || column + 1 >= self.width as i32 || row + 1 >= self.height as i32 {
            return None;
        }
        let (column, row) = (column as usize, row as usize);
        let top = row * self.width + column;
        let (upper, lower) = (&self.texels[top..top + 2], &self.texels[top + self.width..top + self.width + 2]);
        let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
        let (a, b, c, d) = (&upper[0], &upper[1], &lower[0], &lower[1]);
        let mut value = [0.0f32; 8];
        for i in 0..8 {
            value[i] = weights[0] * a[i] + weights[1] * b[i] + weights[2] * c[i] + weights[3] * d[i];
        }
        let [cover, albedo, sx, sy, brush, turned, grain, shadow] = value;
        Some(Surface { cover, albedo, slope: [sx, sy], brush, turned, grain, shadow })
    }
}

/// Box blur along rows; beyond the picture there is nothing.
fn blurred_along(source: &[f32], width: usize, height: usize, radius: usize) -> Vec<f32> {
    let mut target = Vec::with_capacity(width * height);
    for row in source.chunks_exact(width) {
        let mut sum: f32 = row[..radius.min(width)].iter().sum();
        for x in 0..width {
            sum += row.get(x + radius).copied().unwrap_or(0.0);
            sum -= if x > radius { row[x - radius - 1] } else { 0.0 };
            target.push(sum / (2 * radius + 1) as f32);
        }
    }
    target
}

fn transposed(source: &[f32], width: usize, height: usize) -> Vec<f32> {
    (0..width * height).map(|i| source[(i % height) * width + i / height]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plate_is_closed_and_its_holes_are_open() {
        let atlas = Atlas::plate(640.0);
        let cover = |x, y| atlas.at(x, y).map(|s| s.cover);
        assert_eq!(cover(0.2, 0.15), Some(1.0));
        assert_eq!(cover(0.0, 0.0), Some(0.0));
        assert_eq!(cover(HALF[0] + 0.03, 0.0), Some(0.0));
        assert_eq!(cover(0.6, 0.0), None);
        for hole in HOLES {
            assert_eq!(cover(hole.centre[0], hole.centre[1]), Some(0.0), "{hole:?}");
        }
    }

    #[test]
    fn an_undrilled_patch_fits_the_plate_without_a_seam() {
        let atlas = Atlas::plate(500.0);
        for (i, hole) in HOLES.iter().enumerate() {
            let patch = Atlas::undrilled(500.0, i);
            let [x, y] = hole.centre;
            assert_eq!(patch.at(x, y).expect("the patch covers its hole").cover, 1.0);
            let reach = hole.reach() + 1.5 / 500.0;
            for (dx, dy) in [(reach, 0.0), (-reach, 0.0), (0.0, reach), (0.0, -reach)] {
                let (a, b) = (atlas.at(x + dx, y + dy), patch.at(x + dx, y + dy));
                let (a, b) = (a.expect("on the plate"), b.expect("on the patch"));
                assert_eq!((a.cover, a.albedo, a.slope, a.brush), (b.cover, b.albedo, b.slope, b.brush), "hole {i}");
            }
        }
    }

    #[test]
    fn holes_lie_clear_of_each_other() {
        for (i, a) in HOLES.iter().enumerate() {
            assert!(outline(a.centre[0], a.centre[1]) < -a.reach());
            assert!(pocket(a.centre[0], a.centre[1]) > a.reach());
            for b in &HOLES[..i] {
                let apart = length(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1]);
                assert!(apart > a.reach() + b.reach() + 0.01);
            }
        }
    }
}
