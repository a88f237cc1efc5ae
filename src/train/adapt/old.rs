//! The recipe that is adapted, taken apart.

use crate::error::{Error, ErrorKind, Result};
use crate::inspect::intensity::IntensityStats;
use crate::inspect::model::Model;
use crate::inspect::recipe::{KEEPSAKE_KEY, Recipe};
use crate::nn::onnx::{self, Graph};
use crate::nn::surgery;
use crate::train::features::FeatureGraph;
use crate::train::replay::{Features, ReplayMemory};

/// Held-out parts, and good views of each kind, without which nothing can be measured or fitted.
const HELD_MIN: usize = 4;
const GOODS_MIN: usize = 2;

/// A recipe taken apart.
pub(super) struct Old {
    pub(super) recipe: Recipe,
    pub(super) kept: ReplayMemory,
    pub(super) graph: Graph,
    pub(super) space: FeatureGraph,
}

impl Old {
    /// Takes it apart; `origin` names it in messages.
    pub(super) fn open(bytes: &[u8], origin: &str) -> Result<Self> {
        let recipe = Model::from_bytes(bytes, origin)?.recipe().clone();
        let mut model = onnx::decode(bytes, origin)?;
        let kept = surgery::take(&mut model, KEEPSAKE_KEY).ok_or_else(|| {
            let message = format!(
                "{origin} keeps nothing of the pictures that it was taught from, because an older zoomgate wrote it: teach \
                 it once more with this one, from all good and bad pictures (`zoomgate teach --good DIR --bad DIR`)"
            );
            Error::new(ErrorKind::Refused, message)
        })?;
        let graph = surgery::graph(model);
        let space = Self::space(&graph, &recipe, origin)?;
        let features = Features { grid: space.grid, channels: space.channels, lattice: recipe.crop.lattice };
        let kept = ReplayMemory::decode(&kept, origin, &features)?;
        if kept.held.len() < HELD_MIN || kept.goods.iter().any(|views| views.len() < GOODS_MIN) {
            let message = format!(
                "{origin} keeps too few good parts to be adapted, since features of {} x {} pixels are large: teach it once more \
                 from all pictures, the new ones among them, or with a smaller --size",
                recipe.input.width, recipe.input.height
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        Ok(Self { recipe, kept, graph, space })
    }

    /// The features that the recipe's graph makes, with the shape that they have when it runs. Cost: a pass.
    fn space(graph: &Graph, recipe: &Recipe, origin: &str) -> Result<FeatureGraph> {
        let features = graph.up_to(&["x".to_owned()]);
        let quant =
            features.grid_of("x").filter(|_| recipe.light == Some(IntensityStats::default())).ok_or_else(|| {
                let message =
                    format!("{origin} looks at pictures in another way than this zoomgate teaches: teach it once more");
                Error::new(ErrorKind::Refused, message)
            })?;
        let input = [recipe.input.height, recipe.input.width];
        let space = FeatureGraph { graph: features, grid: [0; 2], channels: 0, quant, input };
        match *space.extractor()?.shape()? {
            // Heads see 2x2 cells at once.
            [1, channels, rows, columns]
                if channels > 0 && [rows, columns].iter().all(|n| *n > 0 && n.is_multiple_of(2)) =>
            {
                Ok(FeatureGraph { grid: [rows, columns], channels, ..space })
            }
            ref shape => {
                let message = format!(
                    "the features in {origin} have the shape {shape:?}, which no lesson gives them: the file is damaged; \
                     restore it or teach again"
                );
                Err(Error::new(ErrorKind::Corrupt, message))
            }
        }
    }
}
