//! The simulated camera's pictures: machined cover plates on a dark belt, each a little different, some defective.
//!
//! What differs from part to part without being a defect: position, rotation, light level, lamp position and light
//! gradient, brushing, belt and its dirt, focus, sensor noise. Together they change a pixel at an edge far more than a
//! small defect does, which is why a plain difference from the mean good picture does not do.
//!
//! A picture is a pure function of (seed, size, index, want): the arithmetic is IEEE `+ - * /` and square roots alone,
//! so the same on every machine. The ground truth is exact: outside a defect's rectangle every byte is the byte of the
//! same part without it.

use std::sync::Arc;

use super::defect::{DefectKind, Flaw, width_fraction};
use super::product::{Atlas, Surface};
use super::texture::{Draws, Tile, bells, mix, ramp};
use super::{Defect, PartSource, Rendered};
use crate::frame::geometry::Roi;

/// Which of its looks to give a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Without a defect, whatever the belt would have drawn.
    Good,
    /// With a defect of this kind.
    Defective(DefectKind),
    /// As the belt brings it: defective with the scene's defect rate.
    AsDrawn,
}

/// Keeps the defect's draws apart from those of the part that carries it.
const DEFECT_SEED: u64 = 0x5DEF_EC70_0000_0001;

/// A belt with one product on it; see the module's description.
pub struct Scene {
    seed: u64,
    width: u32,
    height: u32,
    defect_rate: f64,
    /// Pixels a unit of the part plane.
    scale: f32,
    atlas_scale: f32,
    plate: Atlas,
    streaks: Tile,
    skin: Tile,
    belt: Tile,
}

impl Scene {
    /// Prepares the textures: 15 MB and some 80 ms for 640x512 on one x86 core.
    ///
    /// * `width`, `height` — of every frame, in pixels; the plate is fitted to a 5:4 rectangle in the middle.
    /// * `defect_rate` — share of defective parts in `0.0..=1.0`, for [`Want::AsDrawn`].
    ///
    /// # Panics
    /// If the frame is smaller than 32x32 pixels.
    pub fn new(seed: u64, width: u32, height: u32, defect_rate: f64) -> Self {
        assert!(width >= 32 && height >= 32, "a frame of {width}x{height} is too small to show a part");
        let scale = (width as f32).min(height as f32 * 1.25);
        let atlas_scale = scale * 1.25;
        let streaks = Tile::white(seed ^ 1).smoothed(34, 0).plus(&Tile::white(seed ^ 2).smoothed(70, 2), 0.8);
        Self {
            seed,
            width,
            height,
            defect_rate,
            scale,
            atlas_scale,
            plate: Atlas::plate(atlas_scale),
            streaks: streaks.smoothed(0, 0),
            skin: Tile::white(seed ^ 3).smoothed(1, 1).plus(&Tile::white(seed ^ 4).smoothed(4, 4), 0.5).smoothed(0, 0),
            belt: belt_tile(seed),
        }
    }

    /// Whether the belt brings part `index` with a defect.
    pub fn is_defective(&self, index: u64) -> bool {
        f64::from(self.defect_draws(index).unit()) < self.defect_rate
    }

    /// Renders part `index` with the look that is wanted: 16 ms for 640x512 on one x86 core, in proportion to the pixels.
    /// Allocates the picture and four scratch planes of floats.
    ///
    /// Asking for the same index with another [`Want`] changes the defect and nothing else.
    pub fn render_part(&self, index: u64, want: Want) -> Rendered {
        let flaw = self.flaw(index, want);
        let view = PartView::drawn(&mut Draws::new(self.seed, index), self);
        let mut touched = Touched::none();
        let light = self.expose(&view, flaw.as_ref(), &mut touched);
        let rgb = self.read_out(light, view.focus, mix(self.seed ^ mix(index)));
        let truth = flaw.iter().filter_map(|flaw| {
            let width_fraction = f64::from(flaw.extent * self.scale) / f64::from(self.width);
            Some(Defect { kind: flaw.kind.name(), roi: touched.roi(self.width, self.height)?, width_fraction })
        });
        Rendered { width: self.width, height: self.height, truth: truth.collect(), rgb }
    }

    fn defect_draws(&self, index: u64) -> Draws {
        Draws::new(self.seed ^ DEFECT_SEED, index)
    }

    fn flaw(&self, index: u64, want: Want) -> Option<Flaw> {
        let mut draws = self.defect_draws(index);
        let is_defective = f64::from(draws.unit()) < self.defect_rate;
        let drawn = DefectKind::drawn(&mut draws);
        let kind = match want {
            Want::Good => return None,
            Want::AsDrawn if !is_defective => return None,
            Want::AsDrawn => drawn,
            Want::Defective(kind) => kind,
        };
        let extent = width_fraction(&mut draws) * self.width as f32 / self.scale;
        Some(Flaw::drawn(&mut draws, kind, extent, self.scale, self.atlas_scale))
    }

    /// The light that falls on every pixel, 0..=255 and beyond, with its warmth.
    fn expose(&self, view: &PartView, flaw: Option<&Flaw>, touched: &mut Touched) -> Illumination {
        let (width, height) = (self.width as usize, self.height as usize);
        let mut light = Illumination { luma: vec![0.0; width * height], warmth: vec![0.0; width * height] };
        let step = 1.0 / self.scale;
        for row in 0..height {
            let py = (row as f32 + 0.5 - height as f32 * 0.5) * step;
            let line = row * width..(row + 1) * width;
            let pixels = light.luma[line.clone()].iter_mut().zip(&mut light.warmth[line]);
            for (column, (luma, warmth)) in pixels.enumerate() {
                let px = (column as f32 + 0.5 - width as f32 * 0.5) * step;
                let good = self.point(view, [px, py], None);
                (*luma, *warmth) = (good.luma, good.warmth);
                if let Some(flaw) = flaw
                    && let Some(flawed) = self.flawed_pixel(view, [px, py], flaw)
                {
                    (*luma, *warmth) = flawed;
                    touched.add(column as u32, row as u32);
                }
            }
        }
        light
    }

    /// Luma and warmth of the pixel around `p` if a flaw changes it: the mean of 3x3 points, because a scratch is hardly
    /// wider than a pixel.
    fn flawed_pixel(&self, view: &PartView, p: [f32; 2], flaw: &Flaw) -> Option<(f32, f32)> {
        let [x, y] = view.to_part(p[0], p[1]);
        let step = 1.0 / self.scale;
        if !flaw.is_near(x, y, step) {
            return None;
        }
        let (mut luma, mut warmth, mut is_changed) = (0.0f32, 0.0f32, false);
        for (i, j) in (-1..=1).flat_map(|i| (-1..=1).map(move |j| (i, j))) {
            let sub = [p[0] + i as f32 * step / 3.0, p[1] + j as f32 * step / 3.0];
            let point = self.point(view, sub, Some(flaw));
            luma += point.luma / 9.0;
            warmth += point.warmth / 9.0;
            is_changed |= point.is_changed;
        }
        is_changed.then_some((luma, warmth))
    }

    /// The light from one point of the frame's plane.
    #[inline]
    fn point(&self, view: &PartView, [px, py]: [f32; 2], flaw: Option<&Flaw>) -> Point {
        let [x, y] = view.to_part(px, py);
        let mut warm = METAL_WARMTH;
        let mut surface = self.plate.at(x, y).unwrap_or(Surface::BELT);
        let is_changed = flaw.is_some_and(|flaw| flaw.mark([x, y], &mut surface, &mut warm, &self.skin));
        let cover = surface.cover;
        let metal = if cover > 0.0 { view.metal(&surface, [px, py], [x, y], &self.streaks, &self.skin) } else { 0.0 };
        let belt = if cover < 1.0 {
            let grain = self.belt.at(px * REFERENCE + view.belt_at[0], py * REFERENCE + view.belt_at[1]);
            grain * (1.0 - 0.62 * surface.shadow) * view.level
        } else {
            0.0
        };
        // The light gradient and the lens's vignetting.
        let falloff = 1.0 + view.gradient[0] * px + view.gradient[1] * py - 0.28 * (px * px + py * py);
        Point {
            luma: (metal * cover + belt * (1.0 - cover)) * falloff,
            warmth: warm * cover + BELT_WARMTH * (1.0 - cover),
            is_changed,
        }
    }

    /// Lens and sensor: a slight blur of 3x3 pixels, read and shot noise, 8 bits.
    fn read_out(&self, light: Illumination, focus: f32, noise_seed: u64) -> Arc<[u8]> {
        let (width, height) = (self.width as usize, self.height as usize);
        let luma = defocused(&light.luma, width, height, focus);
        let mut rgb = vec![0u8; width * height * 3];
        for (i, (pixel, (&l, &warm))) in rgb.chunks_exact_mut(3).zip(luma.iter().zip(&light.warmth)).enumerate() {
            let l = l.clamp(0.0, 262.0);
            let noise = bells(mix(noise_seed.wrapping_add(i as u64)));
            let deviation = (1.1 + 0.011 * l).sqrt();
            // `as` saturates at 0 and 255, as a sensor does.
            pixel[0] = (l * (1.0 + 0.10 * warm) + deviation * noise[0] + 0.5) as u8;
            pixel[1] = (l + deviation * noise[1] + 0.5) as u8;
            pixel[2] = (l * (1.0 - 0.17 * warm) + deviation * noise[2] + 0.5) as u8;
        }
        rgb.into()
    }
}

impl PartSource for Scene {
    fn render(&self, index: u64) -> Rendered {
        self.render_part(index, Want::AsDrawn)
    }
}

/// Texels of the noise tiles across one unit of the part plane.
const REFERENCE: f32 = 640.0;

/// Tints on the scale of [`Flaw::mark`]: steel is bluish, worn rubber brownish.
const METAL_WARMTH: f32 = -0.12;
const BELT_WARMTH: f32 = 0.10;

/// One sample of the scene.
struct Point {
    luma: f32,
    warmth: f32,
    is_changed: bool,
}

/// What the sensor integrates.
struct Illumination {
    luma: Vec<f32>,
    warmth: Vec<f32>,
}

/// How one part lies under the lamp: everything that varies without being a defect.
struct PartView {
    centre: [f32; 2],
    cos: f32,
    sin: f32,
    /// The lamp above the belt, in the frame's plane.
    lamp: [f32; 3],
    level: f32,
    gradient: [f32; 2],
    /// Where this part's noise starts in the tiles.
    streaks_at: [f32; 4],
    skin_at: [f32; 2],
    belt_at: [f32; 2],
    /// How deep the brushing is.
    streak_depth: f32,
    /// Weight of a neighbour in the defocus kernel.
    focus: f32,
}

impl PartView {
    fn drawn(draws: &mut Draws, scene: &Scene) -> Self {
        let reach = [0.006 * scene.width as f32 / scene.scale, 0.006 * scene.height as f32 / scene.scale];
        // +-0.8 degrees; the square root keeps it a rotation without a cosine.
        let sin = draws.within(0.014);
        let offset = |draws: &mut Draws| draws.between(0.0, Tile::SIDE as f32);
        Self {
            centre: [draws.within(reach[0]).clamp(-0.06, 0.06), draws.within(reach[1]).clamp(-0.04, 0.04)],
            cos: (1.0 - sin * sin).sqrt(),
            sin,
            lamp: [-0.55 + draws.within(0.12), -0.75 + draws.within(0.10), 1.05 + draws.within(0.06)],
            level: 1.0 + draws.within(0.08),
            gradient: [draws.within(0.08), draws.within(0.08)],
            streaks_at: [offset(draws), offset(draws), offset(draws), offset(draws)],
            skin_at: [offset(draws), offset(draws)],
            belt_at: [offset(draws), offset(draws)],
            streak_depth: draws.between(0.022, 0.038),
            focus: draws.between(0.06, 0.19),
        }
    }

    /// A point of the frame's plane in the part's.
    #[inline]
    fn to_part(&self, px: f32, py: f32) -> [f32; 2] {
        let (dx, dy) = (px - self.centre[0], py - self.centre[1]);
        [dx * self.cos + dy * self.sin, dy * self.cos - dx * self.sin]
    }

    /// Light that the metal sends to the camera, before vignetting: diffuse, plus a highlight stretched across the
    /// brushing (Ward's model with powers in place of exponentials).
    #[inline]
    fn metal(&self, surface: &Surface, p: [f32; 2], part: [f32; 2], streaks: &Tile, skin: &Tile) -> f32 {
        let turn = |x: f32, y: f32| [x * self.cos - y * self.sin, x * self.sin + y * self.cos];
        let [sx, sy] = turn(surface.slope[0], surface.slope[1]);
        let to_lamp = [self.lamp[0] - p[0], self.lamp[1] - p[1], self.lamp[2]];
        let lamp_scale = 1.0 / dot(to_lamp, to_lamp).sqrt();
        let lamp = to_lamp.map(|c| c * lamp_scale);
        // Most of a plate is flat, rough nowhere and brushed all over: worth asking before the costly parts.
        let steepness = sx * sx + sy * sy;
        let normal_scale = if steepness > 0.0 { 1.0 / (1.0 + steepness).sqrt() } else { 1.0 };
        let normal = [-sx * normal_scale, -sy * normal_scale, normal_scale];
        // The camera looks straight down.
        let half = [lamp[0], lamp[1], lamp[2] + 1.0];
        let half_scale = 1.0 / dot(half, half).sqrt();
        let half = half.map(|c| c * half_scale);
        let diffuse = dot(normal, lamp).max(0.0);
        let facing = dot(normal, half).max(0.0);

        let streak_x = part[0] * REFERENCE;
        let streak_y = part[1] * REFERENCE;
        let (tangent, groove) = if surface.turned > 0.5 {
            let r = (part[0] * part[0] + part[1] * part[1]).sqrt().max(1e-4);
            // Stands in for the angle: continuous and without an arc tangent, mirrored where nobody can tell.
            let around = part[1] / (part[0].abs() + part[1].abs()).max(1e-4);
            let groove = streaks.at(around * 120.0 + self.streaks_at[0], r * REFERENCE * 1.1 + self.streaks_at[1]);
            (turn(-part[1] / r, part[0] / r), groove * 1.2)
        } else {
            let fine = streaks.at(streak_x + self.streaks_at[0], streak_y + self.streaks_at[1]);
            let broad = streaks.at(streak_x * 0.37 + self.streaks_at[2], streak_y * 0.41 + self.streaks_at[3]);
            (turn(1.0, 0.0), 0.85 * fine + 0.5 * broad)
        };
        let along = tangent[0] * half[0] + tangent[1] * half[1];
        let across = (1.0 - along * along).max(0.0);
        let stretched = power8(across) * facing * facing;
        let mut shine = surface.brush * 0.36 * stretched;
        if surface.brush < 1.0 {
            shine += (1.0 - surface.brush) * 0.34 * power8(facing) * power8(facing);
        }
        let rough = if surface.grain > 0.0 {
            skin.at(streak_x * 0.9 + self.skin_at[0], streak_y * 0.9 + self.skin_at[1])
        } else {
            0.0
        };
        let light = surface.albedo * (0.26 + 0.52 * diffuse) + shine;
        let texture = 1.0 + self.streak_depth * surface.brush * groove + 0.085 * surface.grain * rough;
        255.0 * self.level * light * texture
    }
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn power8(x: f32) -> f32 {
    let square = x * x;
    let fourth = square * square;
    fourth * fourth
}

/// Dark rubber with a woven face, worn and dirty, in luma.
fn belt_tile(seed: u64) -> Tile {
    let dirt = Tile::white(seed ^ 5).smoothed(24, 18);
    let scuffs = Tile::white(seed ^ 6).smoothed(60, 0);
    Tile::white(seed ^ 7).smoothed(1, 1).plus(&dirt, 0.5).plus(&scuffs, 0.3).changed(|x, y, noise| {
        // A plain weave of 8 texels: warp and weft take turns on top.
        let (cx, cy) = ((x % 8) as f32 - 3.5, (y % 8) as f32 - 3.5);
        let is_warp = (x / 8 + y / 8) % 2 == 0;
        let bulge = if is_warp { cx } else { cy };
        let gap = if is_warp { cy } else { cx };
        let thread = 1.0 - bulge * bulge * 0.05 - 0.35 * ramp(gap.abs(), 2.2, 4.0);
        (27.0 + 9.0 * thread + 3.4 * noise).max(6.0)
    })
}

/// Blurs by the separable kernel `[side, 1 - 2 side, side]`, edges repeated.
fn defocused(source: &[f32], width: usize, height: usize, side: f32) -> Vec<f32> {
    let middle = 1.0 - 2.0 * side;
    let mut rows = vec![0.0f32; source.len()];
    for (line, target) in source.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        for x in 0..width {
            let (left, right) = (line[x.saturating_sub(1)], line[(x + 1).min(width - 1)]);
            target[x] = middle * line[x] + side * (left + right);
        }
    }
    let mut target = vec![0.0f32; source.len()];
    for (y, out) in target.chunks_exact_mut(width).enumerate() {
        let line = |y: usize| &rows[y * width..(y + 1) * width];
        let (above, here, below) = (line(y.saturating_sub(1)), line(y), line((y + 1).min(height - 1)));
        for (x, t) in out.iter_mut().enumerate() {
            *t = middle * here[x] + side * (above[x] + below[x]);
        }
    }
    target
}

/// The pixels that a defect changed, before the lens.
struct Touched {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

impl Touched {
    fn none() -> Self {
        Self { left: u32::MAX, top: u32::MAX, right: 0, bottom: 0 }
    }

    fn add(&mut self, x: u32, y: u32) {
        self.left = self.left.min(x);
        self.top = self.top.min(y);
        self.right = self.right.max(x);
        self.bottom = self.bottom.max(y);
    }

    /// The rectangle they lie in after the lens has spread them by one pixel; `None` if there were none.
    fn roi(&self, width: u32, height: u32) -> Option<Roi> {
        if self.left > self.right {
            return None;
        }
        let (x, y) = (self.left.saturating_sub(1), self.top.saturating_sub(1));
        let (right, bottom) = ((self.right + 2).min(width), (self.bottom + 2).min(height));
        Some(Roi { x, y, width: right - x, height: bottom - y })
    }
}
