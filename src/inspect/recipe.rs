//! What a recipe knows besides its graph: the JSON under the key `zoomgate` in the ONNX file's `metadata_props`.
//!
//! Everything that turns raw evidences into a verdict is here and nowhere in the graph, so that a threshold changes
//! without teaching and any ONNX runtime can rebuild every score.

mod bounds;

use serde::{Deserialize, Serialize};

use super::Evidence;
use super::crop::CropPolicy;
use super::intensity::IntensityStats;
use super::register::Registration;
use super::sight::Sight;
use crate::error::{Error, ErrorKind, Result};
use crate::stats;

/// The newest schema that this build reads; it writes it where parts are brought into line or crops lie on a lattice, which
/// an older build would leave undone.
pub const SCHEMA: u32 = 3;
/// The schema of recipes that take parts as they lie, and crops anywhere.
pub const SCHEMA_PLAIN: u32 = 2;
/// The key in `metadata_props`.
pub const METADATA_KEY: &str = "zoomgate";
/// The constant in which a recipe keeps what it needs to be adapted; no node reads it, and the device drops it.
pub const KEEPSAKE_KEY: &str = "zoomgate.keepsake";

/// A recipe's metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// [`SCHEMA`] or [`SCHEMA_PLAIN`].
    pub schema: u32,
    /// zoomgate's version that wrote it.
    pub version: String,
    /// Model input size.
    pub input: Input,
    /// The feature extractor inside the graph.
    pub backbone: BackboneNote,
    /// What every frame's light is brought to; `None` in recipes of schema 1, which take frames as they are.
    #[serde(default)]
    pub light: Option<IntensityStats>,
    /// What a frame must show to be judged; `None` in recipes of before, which judge every frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sight: Option<Sight>,
    /// What parts are brought into line with before they are looked at; `None` where they are taken as they lie.
    #[serde(default)]
    pub registration: Option<Registration>,
    /// How crops are cut.
    pub crop: CropPolicy,
    /// SHA-256 over the graph's constants, hex: a self-test reads but a few rows of the larger ones. `None` in recipes of
    /// schema 2 and before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constants: Option<String>,
    /// Constants of the full image's evidences.
    pub full: ViewConstants,
    /// Constants of the crop's evidences.
    pub zoom: ViewConstants,
    /// Standardisation of the fused sum.
    pub fused: Standard,
    /// Reject at this fused score and above.
    pub threshold: f32,
    /// What the threshold promises.
    pub promise: Promise,
    /// Share of known bad parts expected to pass, from bads that the head had not seen; `None` without known bads.
    pub expected_escape: Option<f64>,
    /// How it was taught.
    pub teaching: Teaching,
    /// Inputs with the evidences this recipe gave for them when it was written.
    pub self_test: Vec<SelfTest>,
}

/// Model input size in pixels, multiples of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Which backbone the graph was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackboneNote {
    /// File name.
    pub name: String,
    /// SHA-256 of the float file, hex.
    pub digest: String,
    /// Feature tensors.
    pub features: Vec<String>,
}

/// Mean and standard deviation over held-out good parts: `z = (x - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    /// Mean.
    pub mean: f32,
    /// Standard deviation, > 0.
    pub std: f32,
}

impl Standard {
    /// Of a sample; a deviation too small to divide by becomes a hundredth of the mean's size.
    pub fn of(values: &[f32]) -> Self {
        let values = values.iter().map(|&v| f64::from(v));
        // The sum of nothing is -0: recipes of before have that.
        let mean = stats::mean(values.clone()).unwrap_or(-0.0);
        let std = stats::deviation(values).unwrap_or(0.0).max(0.01 * mean.abs()).max(1e-6);
        Self { mean: mean as f32, std: std as f32 }
    }

    /// `x` in standard deviations from the mean.
    pub fn z(&self, x: f32) -> f32 {
        (x - self.mean) / self.std
    }
}

/// How one evidence of one view is standardised and weighed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceConstants {
    /// Of the image's evidence, over held-out good parts.
    pub image: Standard,
    /// Of a map cell, over held-out good parts; puts both maps on one scale for cropping and display.
    pub cell: Standard,
    /// Weight in the view's sum, ≥ 0.
    pub weight: f32,
}

/// As [`EvidenceConstants`], of an evidence without a map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageClassifierConstants {
    /// Of the image's evidence, over held-out good parts.
    pub image: Standard,
    /// Weight in the view's sum, ≥ 0.
    pub weight: f32,
}

/// Constants of one view.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewConstants {
    /// Distance to the prototypes.
    pub normality: EvidenceConstants,
    /// The taught head; `None` without known bads.
    pub known: Option<EvidenceConstants>,
    /// What the full image looks like; `None` without known bads and in recipes of schema 1.
    #[serde(default)]
    pub overall: Option<ImageClassifierConstants>,
    /// Standardisation of the view's own weighted sum (for `score_full`, `score_zoom`).
    pub sum: Standard,
}

impl ViewConstants {
    /// The weighted sum of standardised evidences.
    pub fn weighted(&self, e: &Evidence) -> f32 {
        let known = self.known.zip(e.known).map_or(0.0, |(c, k)| c.weight * c.image.z(k));
        let overall = self.overall.zip(e.overall).map_or(0.0, |(c, o)| c.weight * c.image.z(o));
        self.normality.weight * self.normality.image.z(e.normality) + known + overall
    }

    /// The view's score alone, in standard deviations of good parts.
    pub fn score(&self, e: &Evidence) -> f32 {
        self.sum.z(self.weighted(e))
    }

    /// Both raw maps (`[evidences, cells]`) as one suspicion map, in weighted standard deviations of good cells.
    pub fn suspicion(&self, maps: &[f32], out: &mut Vec<f32>) {
        let cells = if self.known.is_some() { maps.len() / 2 } else { maps.len() };
        out.clear();
        out.extend(maps[..cells].iter().map(|&v| self.normality.weight * self.normality.cell.z(v)));
        if let Some(k) = &self.known {
            for (s, &v) in out.iter_mut().zip(&maps[cells..]) {
                *s += k.weight * k.cell.z(v);
            }
        }
    }
}

/// What the threshold promises about good parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// At most this share of good parts is rejected …
    pub overkill_max: f64,
    /// … with this confidence.
    pub confidence: f64,
    /// Good pictures it rests on: each scored by a model that had not seen it.
    pub held_out: usize,
    /// So many of them 1 in `one_in` at that confidence would take.
    pub good_needed: usize,
    /// The promise that was asked for: at most 1 good part in so many.
    #[serde(default = "hundred")]
    pub one_in: u32,
}

/// What recipes promise that do not say what was asked for.
fn hundred() -> u32 {
    100
}

impl Promise {
    /// The tightest N of "at most 1 good part in N" that is proved.
    pub fn proved(&self) -> u32 {
        (1.0 / self.overkill_max + 1e-9) as u32
    }
}

/// How the recipe was taught.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Teaching {
    /// RFC 3339, from SOURCE_DATE_EPOCH where that is set.
    pub date: String,
    /// Good pictures given.
    pub good: usize,
    /// Known bad pictures given.
    pub bad: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// SHA-256 over the pictures read, hex.
    pub digest: String,
    /// SHA-256 of the recipe file that this one was adapted from, hex; `None` where it was taught from pictures alone.
    #[serde(default)]
    pub adapted_from: Option<String>,
    /// Pictures that did not look like what they were given as, by name.
    #[serde(default)]
    pub suspects: Vec<String>,
}

/// One golden input: any build that runs the recipe must give these evidences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// Seed of the synthetic input (see `Recipe::self_test_input`).
    pub seed: u64,
    /// `full_score` values.
    pub full: Vec<f32>,
    /// `zoom_score` values.
    pub zoom: Vec<f32>,
}

impl Recipe {
    /// Reads the metadata of a recipe file.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged or says what no training run writes, `Refused` when a newer zoomgate wrote it; `origin` names
    /// the file.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let damaged = |e: serde_json::Error| {
            Error::new(
                ErrorKind::Corrupt,
                format!("the recipe notes in {origin} are damaged: teach again or restore the file"),
            )
            .caused_by(e)
        };
        // The version first: a newer schema may look entirely different.
        let Version { schema } = serde_json::from_str(text).map_err(damaged)?;
        if schema > SCHEMA {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{origin} was written by a newer zoomgate (recipe schema {schema}, this one reads up to {SCHEMA}): update zoomgate"
                ),
            ));
        }
        let recipe: Self = serde_json::from_str(text).map_err(damaged)?;
        if recipe.registration.as_ref().is_some_and(|r| !r.is_sound()) {
            let message = format!(
                "the reference that {origin} brings parts into line with is damaged: teach again or restore the file"
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        if let Some(note) = recipe.unsound() {
            let message = format!(
                "the recipe notes in {origin} are damaged: `{note}` holds what no lesson writes; teach again or restore the file"
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(recipe)
    }

    /// The fused score of both views, in standard deviations of held-out good parts; without a zoom, as if that showed
    /// what is usual.
    pub fn score(&self, full: &Evidence, zoom: Option<&Evidence>) -> f32 {
        self.fused.z(self.full.weighted(full) + zoom.map_or(0.0, |zoom| self.zoom.weighted(zoom)))
    }

    /// The synthetic input of a self-test: smooth bytes from a small generator, `[3, H, W]` planar.
    pub fn self_test_input(&self, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut level = 128i32;
        (0..3 * self.input.height * self.input.width)
            .map(|_| {
                // xorshift64: any fixed sequence serves, it only has to be the same everywhere.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                level = (level + (state >> 60) as i32 - 7).clamp(0, 255);
                level as u8
            })
            .collect()
    }
}
