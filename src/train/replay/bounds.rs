//! What a recipe may claim to keep: held against its own graph and against limits before anything is allocated for it.

use super::header::{CANDIDATES, Header, Kind, POOLED, Place};
use crate::inspect::CROPS_MAX;
use crate::inspect::crop::CropLattice;
use crate::train::head::Head;

/// The most bytes of views that are kept, unpacked. Chosen: eight megabytes of real features unpack to a hundred.
const UNPACKED_MAX: usize = 512 << 20;
/// The most bytes of heads and pooled features, inflated, which deflating hardly makes smaller.
const NUMBERS_MAX: usize = 64 << 20;
/// The most views: of all kinds, both views of each candidate, and every crop of those held out.
const ENTRIES_MAX: usize = CANDIDATES * (6 + 1 + CROPS_MAX);
/// Bads are numbered below this.
const BADS_MAX: usize = 1 << 20;
/// The furthest that an effect, in deviations, or a place, in shares of a view, lies from 0.
const FAR: f64 = 1e6;

/// What the recipe's graph says of its features.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) struct Features {
    pub(in crate::train) grid: [usize; 2],
    pub(in crate::train) channels: usize,
    pub(in crate::train) lattice: Option<CropLattice>,
}

impl Features {
    /// Bytes of a view's codes; `None` for a grid or channels of nothing.
    fn view(&self) -> Option<usize> {
        let all = self.grid[0].checked_mul(self.grid[1])?.checked_mul(self.channels)?;
        // As much again for the prediction's bookkeeping of each channel.
        (all > 0 && all.checked_add(self.channels)? <= UNPACKED_MAX).then_some(all)
    }

    /// How many views may be kept.
    pub(super) fn views_max(&self) -> usize {
        self.view().map_or(0, |bytes| (UNPACKED_MAX / bytes).min(ENTRIES_MAX))
    }

    /// Whether a view of kind `view` (0 full, 1 zoomed) may begin there.
    fn holds(&self, view: usize, [row, column]: [usize; 2]) -> bool {
        let [rows, columns] = match self.lattice {
            Some(lattice) if view == 1 => [lattice.rows, lattice.columns],
            _ => return view <= 1 && row <= BADS_MAX && column <= BADS_MAX,
        };
        let fits = |at: usize, cells: usize, all: usize| at.checked_add(cells).is_some_and(|end| end <= all);
        fits(row, self.grid[0], rows) && fits(column, self.grid[1], columns)
    }
}

impl Header {
    /// Bytes of the heads and pooled features that it speaks of, inflated; `None` where a training run could not have kept
    /// what it claims of views with these `features`.
    pub(super) fn numbers_of(&self, features: &Features) -> Option<usize> {
        let Self { grid, channels, effects, dropped, head, pooled, pooled_bad, pooled_of, .. } = self;
        let is_graphs = *grid == features.grid && *channels == features.channels && features.view().is_some();
        let is_head = *head == 0 || Some(*head) == Head::count(*channels);
        let is_near = |v: &f64| v.abs() <= FAR;
        if !is_graphs || !is_head || *dropped > 7 || !effects.iter().flatten().flatten().all(is_near) {
            return None;
        }
        let has_rows = pooled.iter().all(|n| (1..=POOLED).contains(n)) && pooled_bad.iter().flatten().all(|n| *n > 0);
        if !has_rows || !pooled_of.iter().flatten().flatten().all(|bad| *bad < BADS_MAX) {
            return None;
        }
        self.are_views_sound(features)?;
        let rows = pooled.iter().chain(pooled_bad.iter().flatten()).try_fold(0usize, |n, of| n.checked_add(*of))?;
        let numbers = rows.checked_mul(channels.checked_mul(2)?)?.checked_add(head.checked_mul(2)?)?;
        numbers.checked_mul(4).filter(|bytes| *bytes <= NUMBERS_MAX)
    }

    fn are_views_sound(&self, features: &Features) -> Option<()> {
        let is_place = |place: &Place| place.iter().all(|v| v.abs() <= FAR) && place[2] > 0.0 && place[3] > 0.0;
        let is_part = |zooms: &Vec<Place>| (1..=CROPS_MAX).contains(&zooms.len()) && zooms.iter().all(is_place);
        let crops: usize = self.places.iter().map(Vec::len).sum();
        let held = |view: usize| self.entries.iter().filter(|e| e.kind == Kind::Held && e.view == view).count();
        let is_sound = self.places.len() <= CANDIDATES
            && self.places.iter().all(is_part)
            && self.entries.len() <= features.views_max()
            && self.entries.iter().all(|e| e.bad < BADS_MAX && features.holds(e.view, e.at))
            && [held(0), held(1)] == [self.places.len(), crops];
        is_sound.then_some(())
    }
}
