//! Defects of the simulated product: what they are called, where they fall and how they change the surface.
//!
//! Every defect has compact support: beyond [`Flaw::reach`] of its centre not one pixel differs, so that the ground
//! truth is exact.

use super::product::{Atlas, HALF, HOLES, Surface, clearance, outline};
use super::texture::{Draws, Tile, ramp};

/// The kinds of defect that the simulated belt draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefectKind {
    /// A fine, slightly bowed groove with a bright and a dark flank.
    Scratch,
    /// A shallow bowl that shines on one side and shades on the other.
    Dent,
    /// A soft-edged, darker and warmer blot.
    Stain,
    /// A hole that was never drilled; its diameter counts as the defect's size.
    MissingHole,
    /// A bite out of the plate's outline.
    Chip,
}

impl DefectKind {
    /// Every kind, in the order of the closing table.
    pub const ALL: [Self; 5] = [Self::Scratch, Self::Dent, Self::Stain, Self::MissingHole, Self::Chip];

    /// The word used in tables, folders and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Dent => "dent",
            Self::Stain => "stain",
            Self::MissingHole => "missing_hole",
            Self::Chip => "chip",
        }
    }

    /// A kind at random; chips are half as frequent as the others.
    pub(super) fn drawn(draws: &mut Draws) -> Self {
        const WEIGHTED: [DefectKind; 9] = [
            DefectKind::Scratch,
            DefectKind::Scratch,
            DefectKind::Dent,
            DefectKind::Dent,
            DefectKind::Stain,
            DefectKind::Stain,
            DefectKind::MissingHole,
            DefectKind::MissingHole,
            DefectKind::Chip,
        ];
        WEIGHTED[draws.below(WEIGHTED.len())]
    }
}

/// Draws a defect's longer extent as a fraction of the frame's width: 0.01 to 0.05, seven of ten 0.02 to 0.035.
pub(super) fn width_fraction(draws: &mut Draws) -> f32 {
    match draws.unit() {
        u if u < 0.15 => draws.between(0.010, 0.020),
        u if u < 0.85 => draws.between(0.020, 0.035),
        _ => draws.between(0.035, 0.050),
    }
}

/// One defect, placed in the part plane.
pub(super) struct Flaw {
    pub(super) kind: DefectKind,
    pub(super) centre: [f32; 2],
    /// Longer extent in the part plane.
    pub(super) extent: f32,
    /// Nothing changes farther than this from the centre.
    pub(super) reach: f32,
    shape: Shape,
}

enum Shape {
    Scratch { along: [f32; 2], bow: f32, half_width: f32, depth: f32 },
    Dent { axis: [f32; 2], squeeze: f32, depth: f32 },
    Stain { noise_at: [f32; 2], darkness: f32 },
    MissingHole { patch: Atlas },
    Chip { inward: [f32; 2], noise_at: [f32; 2] },
}

impl Flaw {
    /// Draws a defect of a kind. `extent` is its longer extent in the part plane (a missing hole brings its own);
    /// `scale` is pixels a unit of the part plane, `atlas_scale` the same for atlas texels.
    pub(super) fn drawn(draws: &mut Draws, kind: DefectKind, extent: f32, scale: f32, atlas_scale: f32) -> Self {
        // Larger ones would not fit between the features of the plate.
        let mut extent = extent.min(0.09);
        let noise_at = [draws.between(0.0, 512.0), draws.between(0.0, 512.0)];
        let mut reach = extent * 0.5;
        let (centre, shape) = match kind {
            DefectKind::Scratch => {
                let along = draws.direction();
                let bow = draws.within(0.10) * extent;
                // Never thinner than what a pixel can show.
                let half_width = draws.between(0.0016, 0.0024).max(0.75 / scale);
                let depth = draws.between(0.7, 1.1);
                reach += bow.abs() + 2.0 * half_width;
                (on_a_face(draws, reach), Shape::Scratch { along, bow, half_width, depth })
            }
            DefectKind::Dent => {
                let axis = draws.direction();
                let (squeeze, depth) = (draws.between(1.0, 1.4), draws.between(0.6, 0.95));
                (on_a_face(draws, reach), Shape::Dent { axis, squeeze, depth })
            }
            DefectKind::Stain => {
                let darkness = draws.between(0.4, 0.6);
                reach *= 1.35;
                (on_a_face(draws, reach), Shape::Stain { noise_at, darkness })
            }
            DefectKind::MissingHole => {
                let hole = draws.below(HOLES.len());
                extent = HOLES[hole].diameter();
                // The atlas interpolates across one texel around what changed.
                reach = HOLES[hole].reach() + 1.5 / atlas_scale;
                (HOLES[hole].centre, Shape::MissingHole { patch: Atlas::undrilled(atlas_scale, hole) })
            }
            DefectKind::Chip => {
                let (centre, inward) = on_the_outline(draws);
                reach *= 1.5;
                (centre, Shape::Chip { inward, noise_at })
            }
        };
        Self { kind, centre, extent, reach, shape }
    }

    /// Whether the defect can reach within `margin` of a point of the part plane.
    #[inline]
    pub(super) fn is_near(&self, x: f32, y: f32, margin: f32) -> bool {
        let reach = self.reach + margin;
        (x - self.centre[0]).abs() < reach && (y - self.centre[1]).abs() < reach
    }

    /// Changes the surface at a point of the part plane; returns whether it did. `warmth` goes from steel blue at
    /// negative values to rust brown at 1; `noise` is an isotropic tile.
    #[inline]
    pub(super) fn mark(&self, [x, y]: [f32; 2], surface: &mut Surface, warmth: &mut f32, noise: &Tile) -> bool {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let square = dx * dx + dy * dy;
        if square >= self.reach * self.reach {
            return false;
        }
        let half = self.extent * 0.5;
        match &self.shape {
            Shape::Scratch { along, bow, half_width, depth } => {
                let a = (dx * along[0] + dy * along[1]) / half;
                if a.abs() >= 1.0 {
                    return false;
                }
                let across = dy * along[0] - dx * along[1] - bow * (1.0 - a * a) + bow * 0.5;
                let t = across / half_width;
                if t.abs() >= 2.0 {
                    return false;
                }
                let taper = ramp(1.0 - a.abs(), 0.0, 0.3);
                let slope = depth * taper * t * (4.0 - t * t) * 0.5;
                surface.slope[0] -= slope * along[1];
                surface.slope[1] += slope * along[0];
                let core = taper * (1.0 - t * t * 0.25);
                surface.albedo *= 1.0 - 0.18 * core;
                surface.brush *= 1.0 - 0.5 * core;
            }
            Shape::Dent { axis, squeeze, depth } => {
                let a = (dx * axis[0] + dy * axis[1]) / half;
                let b = (dy * axis[0] - dx * axis[1]) / half * squeeze;
                let rho = a * a + b * b;
                if rho >= 1.0 {
                    return false;
                }
                // The height is -(1 - rho)^2; this is its gradient, scaled.
                let slope = depth * 2.6 * (1.0 - rho);
                surface.slope[0] += slope * (a * axis[0] - b * axis[1]);
                surface.slope[1] += slope * (a * axis[1] + b * axis[0]);
                let bottom = (1.0 - rho) * (1.0 - rho);
                surface.albedo *= 1.0 - 0.15 * bottom;
                surface.brush *= 1.0 - 0.6 * bottom;
            }
            Shape::Stain { noise_at, darkness } => {
                let ragged = noise.at(noise_at[0] + x * 300.0, noise_at[1] + y * 300.0).clamp(-2.0, 2.0);
                let rho = square.sqrt() / (half * (1.12 + 0.11 * ragged));
                if rho >= 1.0 {
                    return false;
                }
                // Dried liquid: a rim a little darker than the middle.
                let wet = ramp(1.0 - rho, 0.0, 0.5) * (0.75 + 0.25 * ramp(rho, 0.2, 0.6));
                surface.albedo *= 1.0 - darkness * wet;
                surface.brush *= 1.0 - 0.55 * wet;
                *warmth += (0.6 - *warmth) * wet;
            }
            Shape::MissingHole { patch } => match patch.at(x, y) {
                Some(whole) => {
                    let whole = Surface { shadow: surface.shadow, ..whole };
                    let differs = whole != *surface;
                    *surface = whole;
                    return differs;
                }
                None => return false,
            },
            Shape::Chip { inward, noise_at } => {
                let depth = dx * inward[0] + dy * inward[1];
                let along = dy * inward[0] - dx * inward[1];
                let ragged = noise.at(noise_at[0] + x * 900.0, noise_at[1] + y * 900.0).clamp(-2.0, 2.0);
                let (a, b) = (along / half, depth / (half * 1.2));
                let rho = (a * a + b * b).sqrt() * (1.0 + 0.08 * ragged);
                if rho >= 1.0 || surface.cover <= 0.0 {
                    return false;
                }
                // The bite itself, then the fractured rim around it.
                surface.cover *= ramp(rho, 0.62, 0.74);
                let rim = ramp(1.0 - rho, 0.0, 0.15);
                surface.slope[0] += (0.55 + 0.3 * ragged) * rim * inward[0];
                surface.slope[1] += (0.55 + 0.3 * ragged) * rim * inward[1];
                surface.brush *= 1.0 - rim;
                surface.grain += (1.0 - surface.grain) * rim;
                surface.albedo += (0.62 - surface.albedo) * rim;
            }
        }
        true
    }
}

/// A point on a machined face with `room` around it.
fn on_a_face(draws: &mut Draws, room: f32) -> [f32; 2] {
    for _ in 0..512 {
        let (x, y) = (draws.within(HALF[0]), draws.within(HALF[1]));
        if clearance(x, y) > room {
            return [x, y];
        }
    }
    // The roomiest spot of the face, between boss and outline.
    [0.0, 0.195]
}

/// A point on a straight run of the outline, and the direction into the plate.
fn on_the_outline(draws: &mut Draws) -> ([f32; 2], [f32; 2]) {
    let side = if draws.unit() < 0.5 { -1.0 } else { 1.0 };
    let (centre, inward) = if draws.unit() < 0.55 {
        ([draws.within(0.24), side * HALF[1]], [0.0, -side])
    } else {
        ([side * HALF[0], draws.within(0.17)], [-side, 0.0])
    };
    debug_assert!(outline(centre[0], centre[1]).abs() < 1e-4);
    (centre, inward)
}
