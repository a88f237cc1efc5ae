//! Parts of the method that a training run can leave out, so that what each is worth can be measured.

/// What a training run is made of; everything by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ablation {
    /// The crop counts.
    pub zoom: bool,
    /// Heads learn whole views by the deviation loss.
    pub deviation: bool,
    /// Heads learn from noise on good parts.
    pub pseudo: bool,
    /// Known defects are mixed into good parts.
    pub cutmix: bool,
    /// Known defects of the view as a whole count.
    pub overall: bool,
    /// Every frame is brought to one light.
    pub light: bool,
    /// The zoom looks where it is suspicious, and not anywhere.
    pub aim: bool,
    /// The zoom knows what each place of a part looks like.
    pub lattice: bool,
    /// The recipe calculates in int8, and not in floats.
    pub int8: bool,
    /// Evidences acquit only a little, and what is unlike all good parts is rejected whatever they say.
    pub bounds: bool,
    /// The recipe knows what a frame must show to be judged.
    pub sight: bool,
}

impl Default for Ablation {
    fn default() -> Self {
        Self {
            zoom: true,
            deviation: true,
            pseudo: true,
            cutmix: true,
            overall: true,
            light: true,
            aim: true,
            lattice: true,
            int8: true,
            bounds: true,
            sight: true,
        }
    }
}

impl Ablation {
    /// Names that [`Ablation::without`] knows.
    pub const NAMES: [&str; 11] =
        ["zoom", "deviation", "pseudo", "cutmix", "overall", "light", "aim", "chart", "int8", "bounds", "sight"];

    /// The same without one of [`Ablation::NAMES`]; `None` for another name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Option<Self> {
        let part = match name {
            "zoom" => &mut self.zoom,
            "deviation" => &mut self.deviation,
            "pseudo" => &mut self.pseudo,
            "cutmix" => &mut self.cutmix,
            "overall" => &mut self.overall,
            "light" => &mut self.light,
            "aim" => &mut self.aim,
            "chart" => &mut self.lattice,
            "int8" => &mut self.int8,
            "bounds" => &mut self.bounds,
            "sight" => &mut self.sight,
            _ => return None,
        };
        *part = false;
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leaves_out_a_part_of_its_own() {
        let rests: Vec<_> = Ablation::NAMES.iter().map(|n| Ablation::default().without(n).unwrap()).collect();
        for (i, rest) in rests.iter().enumerate() {
            assert_ne!(*rest, Ablation::default());
            assert!(rests[..i].iter().all(|r| r != rest), "{rest:?} twice");
        }
        assert_eq!(Ablation::default().without("salt"), None);
    }
}
